from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner, Result

from metavox_collector.cli.verbs import app_for
from metavox_collector.errors import KeyUnusable, TargetExists
from metavox_collector.proof import keys


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app_for(["keys"]), ["keys", *map(str, words)], catch_exceptions=True)


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text("three blind mice\nand what follows is not of it\n")
    file.chmod(0o600)
    return file


def written(tmp_path: Path, content: bytes, mode: int = 0o600) -> Path:
    file = tmp_path / "some.pem"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_key_is_made_for_its_owner_alone_and_its_id_is_what_openssl_says(tmp_path):
    made = run("generate", "--out", tmp_path / "keys")
    assert made.exit_code == 0, made.output
    private, public = tmp_path / "keys" / keys.PRIVATE_NAME, tmp_path / "keys" / keys.PUBLIC_NAME
    assert {path: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {
        private: 0o600,
        public: 0o644,
    }
    read = ["openssl", "pkey", "-pubin", "-in", str(public), "-outform", "DER"]
    der = subprocess.run(read, capture_output=True, check=True).stdout
    assert hashlib.sha256(der).hexdigest() in made.stdout
    assert keys.key_id(keys.public_key(public)) == hashlib.sha256(der).hexdigest()
    assert keys.key_id(keys.private_key(private).public_key()) == hashlib.sha256(der).hexdigest()


def test_show_and_public_say_the_same_of_both_halves(tmp_path, passphrase):
    run("generate", "--out", tmp_path, "--passphrase-file", passphrase)
    private, public = tmp_path / keys.PRIVATE_NAME, tmp_path / keys.PUBLIC_NAME
    key_id = keys.key_id(keys.public_key(public))
    shown = run("show", private, "--passphrase-file", passphrase)
    assert shown.stdout == f"{key_id}  Ed25519, private: {private}\n"
    assert run("show", public).stdout == f"{key_id}  Ed25519, public: {public}\n"
    from_private = run("public", private, "--passphrase-file", passphrase).stdout
    assert from_private == run("public", public).stdout == public.read_text()


@pytest.mark.parametrize("there", [keys.PRIVATE_NAME, keys.PUBLIC_NAME])
def test_no_key_is_overwritten_and_no_half_of_one_made(tmp_path, there):
    (tmp_path / there).write_text("precious")
    result = run("generate", "--out", tmp_path)
    assert isinstance(result.exception, TargetExists)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_an_encrypted_key_opens_with_its_passphrase_alone(tmp_path, passphrase):
    pair = keys.generate(keys.passphrase_of(passphrase))
    file = written(tmp_path, pair.private)
    assert b"ENCRYPTED" in pair.private
    assert keys.key_id(keys.private_key(file, b"three blind mice").public_key()) == pair.key_id
    with pytest.raises(KeyUnusable, match="is encrypted; name the file of its passphrase"):
        keys.private_key(file)
    with pytest.raises(KeyUnusable, match="no private key that the passphrase opens"):
        keys.private_key(file, b"three blind rats")
    plain = written(tmp_path, keys.generate().private)
    with pytest.raises(KeyUnusable, match="is not encrypted"):
        keys.private_key(plain, b"three blind mice")


def test_a_private_key_or_a_passphrase_that_others_may_read_is_not_used(tmp_path, passphrase):
    file = written(tmp_path, keys.generate().private, mode=0o640)
    with pytest.raises(KeyUnusable, match=f"run: chmod 600 {file}"):
        keys.private_key(file)
    passphrase.chmod(0o604)
    with pytest.raises(KeyUnusable, match=f"run: chmod 600 {passphrase}"):
        keys.passphrase_of(passphrase)


def test_what_is_no_key_of_this_kind_is_refused_by_name(tmp_path):
    other = ec.generate_private_key(ec.SECP256R1())
    unlocked = serialization.NoEncryption()
    private = other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for read, content, words in (
        (keys.private_key, private, "a key of another kind; releases are signed with Ed25519"),
        (keys.public_key, public, "a key of another kind; releases are signed with Ed25519"),
        (keys.private_key, b"-----BEGIN", "holds no private key; 'metavox-collector keys generate' makes one"),
        (keys.public_key, keys.generate().private, "holds no public key in PEM"),
        (keys.public_key, b"x" * 70_000, "is too large to be a key"),
    ):
        with pytest.raises(KeyUnusable, match=words):
            read(written(tmp_path, content))
    with pytest.raises(KeyUnusable, match="cannot be read: No such file"):
        keys.private_key(tmp_path / "nowhere.pem")
    with pytest.raises(KeyUnusable, match="holds no passphrase"):
        keys.passphrase_of(written(tmp_path, b"\nlater"))


def test_a_passphrase_for_a_public_key_is_refused(tmp_path, passphrase):
    file = written(tmp_path, keys.generate().public)
    assert isinstance(run("show", file, "--passphrase-file", passphrase).exception, KeyUnusable)
    assert isinstance(run("show", tmp_path / "nowhere").exception, KeyUnusable)


def test_a_public_key_does_not_sign_and_no_mode_is_complained_of(tmp_path):
    file = tmp_path / "key.pub.pem"
    file.write_bytes(keys.generate().public)
    file.chmod(0o644)
    with pytest.raises(KeyUnusable, match="holds a public key; it takes the private one to sign"):
        keys.private_key(file)
