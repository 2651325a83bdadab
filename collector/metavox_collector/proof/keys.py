"""The Ed25519 keys that releases are signed with (RFC 8032), as PEM files that other software reads too.

A private key is PKCS #8 (RFC 5958), a public one SubjectPublicKeyInfo (RFC 8410). A key's id is the SHA-256 of its
public half in DER, which ``openssl pkey -pubin -outform DER | sha256sum`` prints as well.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from metavox_collector.errors import KeyUnusable

PRIVATE_NAME, PUBLIC_NAME = "metavox-signing.pem", "metavox-signing.pub.pem"
_MOST = 64 * 1024
"""Bytes of a key file or a passphrase's: no honest one is larger."""


@dataclass(frozen=True)
class KeyPair:
    """Both halves of a new key as the content of files.

    Attributes:
        private: PEM, encrypted if a passphrase was given; for its owner alone.
        public: PEM, for everybody.
        key_id: Hex SHA-256 of the public half's DER.
    """

    private: bytes
    public: bytes
    key_id: str


def generate(passphrase: bytes | None = None) -> KeyPair:
    """A new key from the operating system's source of randomness."""
    key = Ed25519PrivateKey.generate()
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    return KeyPair(private, public_pem(key.public_key()), key_id(key.public_key()))


def key_id(key: Ed25519PublicKey) -> str:
    """Hex SHA-256 of the public key's DER."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The public key as the content of a PEM file."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key that nobody but its owner may read.

    Raises:
        KeyUnusable: if the file is not there, others may read it, it is encrypted and no passphrase opens it, or it
            holds something else.
    """
    content = _content(path)
    if b"-----BEGIN PUBLIC KEY-----" in content:
        raise KeyUnusable(f"{path} holds a public key; it takes the private one to sign")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyUnusable(f"others may read the private key {path}; run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(content, passphrase)
    except TypeError:  # one was needed and not given, or given and not needed
        if passphrase is None:
            raise KeyUnusable(f"{path} is encrypted; name the file of its passphrase") from None
        raise KeyUnusable(f"{path} is not encrypted; name no file of a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        words = "holds no private key" if passphrase is None else "holds no private key that the passphrase opens"
        raise KeyUnusable(f"{path} {words}; 'metavox-collector keys generate' makes one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds a key of another kind; releases are signed with Ed25519")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key; raises KeyUnusable if the file is not there or holds something else."""
    return parse_public(_content(path), str(path))


def parse_public(content: bytes, name: str) -> Ed25519PublicKey:
    """A public key from a PEM file's content; raises KeyUnusable with the name for anything else."""
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable(f"{name} holds no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{name} holds a key of another kind; releases are signed with Ed25519")
    return key


def passphrase_of(path: Path | None) -> bytes | None:
    """The first line of a file, or None without one; raises KeyUnusable if it is not there, open or empty."""
    if path is None:
        return None
    content = _content(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyUnusable(f"others may read the passphrase in {path}; run: chmod 600 {path}")
    line = content.partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise KeyUnusable(f"{path} holds no passphrase; it is the file's first line")
    return line


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MOST:
        raise KeyUnusable(f"{path} is too large to be a key")
    return content
