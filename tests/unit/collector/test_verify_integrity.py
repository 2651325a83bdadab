"""Signature and hashes, on files of no meaning: every change of a byte is found and named."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from metavox_collector.errors import NotAPack
from metavox_collector.proof import canonical, folder, keys
from metavox_collector.proof.envelope import Malformed, opened, seal
from metavox_collector.proof.integrity import Pinned, examine
from metavox_collector.proof.paths import SIGNATURE, SIGNING_KEY

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORDER = 2**252 + 27742317777372353535851937790883648493


def pack(key: Ed25519PrivateKey = KEY) -> dict[str, bytes]:
    files = {
        "README.md": b"# A release\n",
        "data/performance.parquet": bytes(range(64)),
        SIGNING_KEY: keys.public_pem(key.public_key()),
    }
    return {**files, SIGNATURE: seal(files, {"week": "2026-W47"}, key)}


PACK = pack()


def found(files: dict[str, bytes], pinned: Pinned = Pinned()) -> list[str]:  # noqa: B008  # it is frozen
    return [problem.file for problem in examine(files, pinned).problems]


def test_what_was_signed_is_found_whole_with_and_without_a_pinned_key():
    key_id = keys.key_id(KEY.public_key())
    for pinned in (Pinned(), Pinned(key_id=key_id), Pinned(key=KEY.public_key())):
        looked = examine(PACK, pinned)
        assert looked.problems == ()
        assert looked.sealed is not None
        assert looked.sealed.predicate == {"week": "2026-W47"}
        assert looked.sealed.key_id == key_id


@given(st.data())
def test_any_changed_byte_of_any_file_is_found_and_its_file_named(data):
    name = data.draw(st.sampled_from(sorted(PACK)))
    content = PACK[name]
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    changed = data.draw(
        st.sampled_from(
            [
                content[:at] + bytes([other]) + content[at + 1 :],
                content[:at] + bytes([other]) + content[at:],
                content[:at] + content[at + 1 :],
                content + bytes([other]),
            ]
        )
    )
    if changed != content:
        assert name in found({**PACK, name: changed})
        assert name in found({**PACK, name: changed}, Pinned(key=KEY.public_key()))


def test_every_single_byte_of_the_envelope_counts():
    content = PACK[SIGNATURE]
    for at in range(len(content)):
        for changed in (
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
            content[:at] + b" " + content[at:],
            content[:at] + content[at + 1 :],
        ):
            assert SIGNATURE in found({**PACK, SIGNATURE: changed}), (at, changed[at - 5 : at + 5])


def test_a_missing_an_added_and_a_renamed_file_are_named():
    for name in set(PACK):
        assert name in found({other: content for other, content in PACK.items() if other != name})
    assert found({**PACK, "data/extra.parquet": b"x"}) == ["data/extra.parquet"]
    renamed = {("LIESMICH.md" if name == "README.md" else name): content for name, content in PACK.items()}
    assert found(renamed) == ["README.md", "LIESMICH.md"]


def test_another_encoding_of_the_same_signature_is_no_signature():
    envelope = json.loads(PACK[SIGNATURE])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    again = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    envelope["signatures"][0]["sig"] = base64.b64encode(again).decode()
    assert found({**PACK, SIGNATURE: canonical.legible(envelope)}) == [SIGNATURE]


@pytest.mark.parametrize(
    "change",
    [
        lambda envelope: envelope | {"note": "unsigned"},
        lambda envelope: envelope | {"payloadType": "application/json"},
        lambda envelope: envelope | {"signatures": envelope["signatures"] * 2},
        lambda envelope: envelope | {"signatures": [envelope["signatures"][0] | {"cert": "x"}]},
        lambda envelope: envelope | {"signatures": []},
        lambda envelope: dict(reversed(envelope.items())),
        lambda envelope: [envelope],
        lambda envelope: envelope | {"payload": 7},
    ],
)
def test_an_envelope_of_another_shape_is_not_read(change):
    with pytest.raises(Malformed):
        opened(canonical.legible(change(json.loads(PACK[SIGNATURE]))))


def test_a_statement_of_another_type_is_not_read():
    statement = json.loads(base64.b64decode(json.loads(PACK[SIGNATURE])["payload"]))
    for changed in (
        statement | {"predicateType": "https://slsa.dev/provenance/v1"},
        statement | {"_type": "https://in-toto.io/Statement/v0.1"},
        statement | {"subject": statement["subject"] * 2},
        statement | {"subject": [{"name": "README.md", "digest": {"md5": "0"}}]},
        statement | {"predicate": None},
    ):
        payload = base64.b64encode(canonical.compact(changed)).decode()
        with pytest.raises(Malformed):
            opened(canonical.legible(json.loads(PACK[SIGNATURE]) | {"payload": payload}))


def test_a_pack_that_another_key_signed_anew_is_whole_and_not_of_the_pinned_key():
    forged = pack(OTHER)
    assert found(forged) == []
    for pinned in (Pinned(key=KEY.public_key()), Pinned(key_id=keys.key_id(KEY.public_key()))):
        assert found(forged, pinned) == [SIGNATURE]


def test_a_signature_under_the_name_of_another_key_is_found():
    envelope = json.loads(pack(OTHER)[SIGNATURE])
    envelope["signatures"][0]["keyid"] = keys.key_id(KEY.public_key())
    claimed = {**PACK, SIGNATURE: canonical.legible(envelope)}
    for pinned in (Pinned(), Pinned(key=KEY.public_key()), Pinned(key_id=keys.key_id(KEY.public_key()))):
        assert SIGNATURE in found(claimed, pinned)


def test_without_a_readable_envelope_nothing_is_said_of_the_files():
    assert found({name: content for name, content in PACK.items() if name != SIGNATURE}) == [SIGNATURE]
    assert found({**PACK, SIGNATURE: b"{}"}) == [SIGNATURE]
    assert found({**PACK, SIGNATURE: b"[" * 100_000}) == [SIGNATURE]


def test_links_odd_files_and_empty_directories_are_named_and_not_followed(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.parquet").write_bytes(b"x")
    (tmp_path / "data" / "link").symlink_to("/etc/hostname")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    looked = folder.read(tmp_path)
    assert looked.files == {"data/a.parquet": b"x"}
    assert [problem.file for problem in looked.problems] == ["data/link", "empty", "loop", "pipe"]


def test_what_is_no_directory_or_far_too_large_is_refused(tmp_path: Path):
    with pytest.raises(NotAPack, match="is no directory"):
        folder.read(tmp_path / "nowhere")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(folder.MOST_BYTES + 1)
    with pytest.raises(NotAPack, match="holds more than 1024 MiB"):
        folder.read(tmp_path)
