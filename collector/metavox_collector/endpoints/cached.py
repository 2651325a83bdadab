"""Answers that many ask for and that seldom change: zipped once, named by an ETag, kept by whoever asked."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

_HEADERS = {"Cache-Control": "public, max-age=3600", "Vary": "Accept-Encoding"}


@dataclass(frozen=True, slots=True)
class Cached:
    """A JSON document, ready to be answered.

    Attributes:
        body: In UTF-8.
        zipped: The same, gzipped.
        etag: Names this content, as HTTP quotes it.
    """

    body: bytes
    zipped: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes) -> Cached:
        """A document that is not zipped yet."""
        return cls(body, gzip.compress(body, mtime=0), _etag(body))

    @classmethod
    def of_zipped(cls, zipped: bytes) -> Cached:
        """A document that is."""
        body = gzip.decompress(zipped)
        return cls(body, zipped, _etag(body))

    def answer(self, request: Request) -> Response:
        """The answer to a request for it: 304 to whoever has it, zipped for whoever takes that."""
        headers = _HEADERS | {"ETag": self.etag}
        if _is_known(request.headers.get("if-none-match", ""), self.etag):
            return Response(status_code=304, headers=headers)
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(self.zipped, 200, headers | {"Content-Encoding": "gzip"}, "application/json")
        return Response(self.body, 200, headers, "application/json")


def _etag(body: bytes) -> str:
    # Weak, for the plain and the zipped form are the same to whoever asks.
    return f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


def _is_known(header: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names the ETag, compared weakly (RFC 9110, section 13.1.2)."""
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or etag.removeprefix("W/") in named


def _takes_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` permits gzip; what is given the weight 0 is not permitted."""
    for part in header.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        if name in ("gzip", "*"):
            return weight.strip("0.") != "" if weight else True
    return False
