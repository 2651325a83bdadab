"""Files and their signature -> what was changed, added or taken away since, and who signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from metavox_collector.errors import KeyUnusable
from metavox_collector.proof import envelope, keys
from metavox_collector.proof.envelope import Malformed, Sealed
from metavox_collector.proof.paths import SIGNATURE, SIGNING_KEY
from metavox_collector.proof.problem import Problem


@dataclass(frozen=True)
class Pinned:
    """Which key the reader trusts, by what they know of it; of neither, origin cannot be shown.

    Attributes:
        key: The public key itself.
        key_id: Its id.
    """

    key: Ed25519PublicKey | None = None
    key_id: str | None = None

    @property
    def expected(self) -> str | None:
        """The id of the key that must have signed."""
        return keys.key_id(self.key) if self.key is not None else self.key_id


@dataclass(frozen=True)
class Integrity:
    """What was found.

    Attributes:
        sealed: The envelope, None where it cannot be read.
        problems: All that is wrong.
    """

    sealed: Sealed | None
    problems: tuple[Problem, ...]


def examine(files: Mapping[str, bytes], pinned: Pinned) -> Integrity:
    """Hold every file against the statement, and the statement against its signature."""
    if SIGNATURE not in files:
        return Integrity(None, (Problem(SIGNATURE, "it is missing, so nothing shows what the pack was"),))
    try:
        sealed = envelope.opened(files[SIGNATURE])
    except Malformed as error:
        return Integrity(None, (Problem(SIGNATURE, f"{error}, so no file can be held against it"),))
    return Integrity(sealed, (*_signature(sealed, files, pinned), *_differences(sealed, files)))


def _signature(sealed: Sealed, files: Mapping[str, bytes], pinned: Pinned) -> Iterator[Problem]:
    expected = pinned.expected
    if expected is not None and sealed.key_id != expected:
        yield Problem(SIGNATURE, f"it names the key {sealed.key_id} and not {expected}, which was asked for")
    key = pinned.key
    if key is None or sealed.key_id != expected:
        key = _own_key(files)
    if key is None or keys.key_id(key) != sealed.key_id:
        yield Problem(SIGNATURE, f"{SIGNING_KEY} is not the key that it names, so the signature cannot be checked")
    elif not sealed.is_signed_by(key):
        yield Problem(SIGNATURE, "the signature is not that of its key over this statement")


def _own_key(files: Mapping[str, bytes]) -> Ed25519PublicKey | None:
    try:
        return keys.parse_public(files.get(SIGNING_KEY, b""), SIGNING_KEY)
    except KeyUnusable:
        return None


def _differences(sealed: Sealed, files: Mapping[str, bytes]) -> Iterator[Problem]:
    for name, expected in sealed.digests.items():
        if name not in files:
            yield Problem(name, "it is missing; the signed statement names it")
        elif envelope.digest(files[name]) != expected:
            yield Problem(name, "its SHA-256 is not the one that was signed: it was changed")
    for name in sorted(set(files) - set(sealed.digests) - {SIGNATURE}):
        yield Problem(name, "the signed statement does not name it: it was added")
