"""Bytes -> an OTLP request, or a refusal; and what came of it -> the answer's bytes.

Follows OTLP/HTTP 1.x (https://opentelemetry.io/docs/specs/otlp/#otlphttp): every 4xx and 5xx body is a
protobuf ``google.rpc.Status``; a part that was not taken is a ``partial_success`` in an answer 200.
Limits hold before and after inflation, so that neither a long body nor a gzip bomb is ever held whole.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from metavox_privacy.wire import Rejected

PROTOBUF = "application/x-protobuf"

MOST_ELEMENTS = 256
"""Several times what any list of a report holds."""


class Code(Enum):
    """HTTP status and google.rpc code of each kind of refusal."""

    INVALID = (400, 3)
    TIMEOUT = (408, 4)
    TOO_LARGE = (413, 8)
    UNSUPPORTED = (415, 12)
    INTERNAL = (500, 13)
    UNAVAILABLE = (503, 14)


class Refused(Exception):
    """A request that is not taken at all; the message is ours and repeats no word of the sender's."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def http_status(self) -> int:
        """The status line's number."""
        return self.code.value[0]

    def body(self) -> bytes:
        """A serialised ``google.rpc.Status``."""
        body: bytes = Status(code=self.code.value[1], message=str(self)).SerializeToString()
        return body


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may hold.

    Attributes:
        body: Bytes as they arrive.
        inflated: Bytes after gunzip.
        reports: Reports, that is, resource spans.
    """

    body: int
    inflated: int
    reports: int


def check_headers(
    content_type: str | None, content_encoding: str | None, content_length: str | None, limits: Limits
) -> bool:
    """Whether the body is gzip.

    Raises:
        Refused: if the type or the encoding is not ours, or the announced length is too large already.
    """
    if (content_type or "").partition(";")[0].strip().lower() != PROTOBUF:
        raise Refused(Code.UNSUPPORTED, f"the content type must be {PROTOBUF}")
    encoding = (content_encoding or "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(Code.UNSUPPORTED, "the content encoding must be gzip or identity")
    if content_length is not None and content_length.isdecimal() and int(content_length) > limits.body:
        raise _too_large(limits.body, "")
    return encoding == "gzip"


async def read_bounded(chunks: AsyncIterable[bytes], limits: Limits) -> bytes:
    """Read a body and stop at the limit, whatever length was announced; raises Refused."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limits.body:
            raise _too_large(limits.body, "")
    return bytes(body)


def parse(body: bytes, *, gzip: bool, limits: Limits) -> ExportTraceServiceRequest:
    """Inflate and parse a body.

    Raises:
        Refused: if it is broken gzip, too large once inflated, no OTLP, or holds too many reports.
    """
    data = inflate(body, limits.inflated) if gzip else body
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        raise Refused(Code.INVALID, "the body is not an OTLP ExportTraceServiceRequest in protobuf") from None
    if len(request.resource_spans) > limits.reports:
        raise Refused(Code.TOO_LARGE, f"a request holds at most {limits.reports} reports; send them in several")
    for report in request.resource_spans:
        _require_small(report)
    return request


def _require_small(report: ResourceSpans) -> None:
    """Refuse what no report resembles before anything walks through it.

    Two bytes make an element, so 4 MiB can hold two million of them: reading such a list in Python took
    12 s and 1.2 GB where the lengths alone tell. How many a report may really have is the decoder's business.
    """
    sizes = [len(report.resource.attributes), len(report.scope_spans)]
    if max(sizes) <= MOST_ELEMENTS:
        sizes.append(sum(len(scope.spans) for scope in report.scope_spans))
    if max(sizes) <= MOST_ELEMENTS:
        attributes = [span.attributes for scope in report.scope_spans for span in scope.spans]
        sizes += map(len, attributes)
    if max(sizes) <= MOST_ELEMENTS:
        sizes += (len(item.value.array_value.values) for items in attributes for item in items)
    if max(sizes) > MOST_ELEMENTS:
        raise Refused(Code.INVALID, f"a list in a report has more than {MOST_ELEMENTS} elements")


def inflate(body: bytes, limit: int) -> bytes:
    """Gunzip at most ``limit`` bytes; raises Refused. One gzip member, as OTLP's exporters write it."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise Refused(Code.INVALID, "the body is not valid gzip") from None
    if len(data) > limit:
        raise _too_large(limit, " after inflation")
    if not inflater.eof:
        raise Refused(Code.INVALID, "the gzip body is cut off")
    if inflater.unused_data:
        raise Refused(Code.INVALID, "something follows the gzip body")
    return data


def answer(rejected: Sequence[Rejected]) -> bytes:
    """The body of an answer 200: empty when everything was taken, else how many spans were not, and why."""
    response = ExportTraceServiceResponse()
    if rejected:
        reasons = Counter(item.reason for item in rejected)
        words = (
            f"{reason} ({number} {'report' if number == 1 else 'reports'})" for reason, number in reasons.items()
        )
        response.partial_success.rejected_spans = sum(item.spans for item in rejected)
        response.partial_success.error_message = "not taken: " + "; ".join(words)
    return response.SerializeToString()


def _too_large(limit: int, when: str) -> Refused:
    return Refused(Code.TOO_LARGE, f"the body is larger than {limit} bytes{when}; send fewer reports at a time")
