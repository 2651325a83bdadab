"""The three things that are ever asked of a collector: keep a report, delete one, give the newest release.

The stock OTLP exporters are not used: they would send the user's own ``OTEL_EXPORTER_OTLP_HEADERS``, which
hold keys, and delay the program's end when the collector is away. Nothing of ``OTEL_*`` is read here.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TypeAlias

from metavox.telemetry.upload.transport import TIMEOUT, Address, Answer, Unreachable, request

__all__ = [
    "TIMEOUT",
    "Address",
    "Deleted",
    "Deletion",
    "Gone",
    "Outcome",
    "Refused",
    "Sent",
    "Unreachable",
    "delete",
    "fetch_release",
    "send",
]

_COMMON = {"User-Agent": "metavox", "Connection": "close"}
_PROTOBUF = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "gzip",
    "Accept": "application/x-protobuf",
    **_COMMON,
}
_LONGEST_RELEASE = 4 * 2**20
_DOWNLOAD_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Sent:
    """The collector has stored the report: over TLS with a checked certificate nobody else can have said so."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The collector answered, and has not done what was asked.

    Attributes:
        status: The HTTP status.
    """

    status: int

    @property
    def final(self) -> bool:
        """Whether asking the same again is pointless."""
        return 400 <= self.status < 500 and self.status != 429


@dataclass(frozen=True, slots=True)
class Deleted:
    """The collector had the report and has deleted it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The collector has no such report: it never came, was deleted before, or its week was closed."""


Outcome: TypeAlias = Sent | Refused | Unreachable
Deletion: TypeAlias = Deleted | Gone | Refused | Unreachable


def send(body: bytes, address: Address, *, timeout: float = TIMEOUT) -> Outcome:
    """POST one ``ExportTraceServiceRequest``, gzipped; of the answer only the status is read.

    Args:
        body: The encoded report, exactly as the journal holds it.
        address: The collector.
        timeout: Seconds for everything.
    """
    compressed = gzip.compress(body, mtime=0)
    answer = request("POST", address, "/v1/traces", body=compressed, headers=_PROTOBUF, timeout=timeout)
    if isinstance(answer, Unreachable):
        return answer
    return Sent() if _is_success(answer) else Refused(answer.status)


def delete(token: bytes, address: Address, *, timeout: float = TIMEOUT) -> Deletion:
    """Have a report deleted.

    Args:
        token: The secret that its name was made from.
        address: The collector that it was sent to.
        timeout: Seconds for everything.
    """
    answer = request("DELETE", address, f"/v1/reports/{token.hex()}", headers=_COMMON, timeout=timeout)
    if isinstance(answer, Unreachable):
        return answer
    if answer.status == 404:
        return Gone()
    return Deleted() if answer.status == 204 else Refused(answer.status)


def fetch_release(address: Address, *, timeout: float = _DOWNLOAD_TIMEOUT) -> bytes | Refused | Unreachable:
    """GET the newest public release, at most 4 MiB of it; the request says nothing of who asks.

    Returns:
        The bytes as somebody else wrote them, or why there are none: ``Refused(404)`` when nothing is released.
    """
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **_COMMON}
    answer = request(
        "GET", address, "/v1/releases/latest", headers=headers, timeout=timeout, longest=_LONGEST_RELEASE
    )
    if isinstance(answer, Unreachable):
        return answer
    return _content(answer) if answer.status == 200 else Refused(answer.status)


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _content(answer: Answer) -> bytes | Unreachable:
    if answer.encoding in ("", "identity"):
        return answer.body
    if answer.encoding != "gzip":
        return Unreachable("the answer is in an encoding that was not asked for")
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = inflate.decompress(answer.body, _LONGEST_RELEASE)
    except zlib.error:
        return Unreachable("the answer cannot be read")
    return content if inflate.eof else Unreachable("the answer is too long, or not whole")
