"""Proof of origin for closed fleets: a bearer token that all senders of a fleet share.

The service's file holds SHA-256 hashes: who reads it cannot send. A token has 256 random bits, so a plain hash is
enough. Which token was shown is recorded nowhere; a token for each person would say who sent a report.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from metavox_collector.errors import NotAllowed

_LINE = re.compile(r"sha256:([0-9a-f]{64})")
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Tokens:
    """The hashes of the tokens that are good.

    Attributes:
        digests: SHA-256 of each, 32 bytes.
    """

    digests: tuple[bytes, ...]

    def accept(self, header: str | None) -> bool:
        """Whether an ``Authorization`` header shows a good token; takes the same time whichever it is."""
        if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
            return False
        shown = _digest(header[len(_SCHEME) :].strip())
        return sum(hmac.compare_digest(shown, good) for good in self.digests) > 0


def mint() -> tuple[str, str]:
    """A new token, and the line that makes the service accept it."""
    token = secrets.token_urlsafe(32)
    return token, f"sha256:{_digest(token).hex()}"


def read(path: Path) -> Tokens:
    """The tokens of a file: a line for each, and comments after ``#``.

    Raises:
        NotAllowed: if the file holds no token, or a line that is none; the line's number is told, not its words.
        OSError: if it cannot be read.
    """
    lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8", "replace").splitlines()]
    digests = tuple(_parse(line, number, path) for number, line in enumerate(lines, 1) if line)
    if not digests:
        raise NotAllowed(f"{path} holds no token; add the line that `metavox-collector token` prints")
    return Tokens(digests)


def _parse(line: str, number: int, path: Path) -> bytes:
    match = _LINE.fullmatch(line)
    if match is None:
        raise NotAllowed(
            f"{path}, line {number}: not a token's hash; add the line that `metavox-collector token` prints, "
            "not the token"
        )
    return bytes.fromhex(match[1])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
