"""A body -> the reports in it, each whole and valid or rejected with a reason."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_collector.receive import otlp_json
from metavox_collector.receive.headers import Headers, Limits
from metavox_collector.receive.media import Media
from metavox_collector.receive.refused import Code, Refused
from metavox_collector.receive.shape import is_plausible
from metavox_privacy.report import Report
from metavox_privacy.schema import Schema
from metavox_privacy.wire import Canonical, Decoder, Rejected


class Receiver:
    """Understands what one schema permits within limits. Built once; it keeps nothing of what it reads.

    Args:
        schema: The list of what may arrive.
        limits: How much one request may hold.
    """

    def __init__(self, schema: Schema, limits: Limits) -> None:
        self.limits = limits
        self._decoder = Decoder(schema)
        self._canonical = Canonical(self._decoder)

    def decode(self, data: bytes, media: Media) -> list[Report | Rejected]:
        """The reports of an inflated body; raises Refused."""
        quick = self._canonical.read(data) if media is Media.PROTOBUF else None
        if quick is not None:
            self._require_few(len(quick))
            return [*quick]
        request = otlp_json.parse(data) if media is Media.JSON else _parse(data)
        self._require_few(len(request.resource_spans))
        return self._decoder.decode(request)

    def _require_few(self, reports: int) -> None:
        if reports > self.limits.reports:
            raise Refused(
                Code.TOO_LARGE, f"a request holds at most {self.limits.reports} reports; send them in several"
            )


def understand(headers: Headers, data: bytes, receiver: Receiver) -> list[Report | Rejected]:
    """Parse and validate an inflated body; one without a byte is a request without a report.

    Raises:
        Refused: if it is no OTLP, or holds too many reports.
    """
    if not data:
        return []
    try:
        return receiver.decode(data, headers.media)
    except Refused as refused:
        # Tracebacks would keep a hostile body's whole message alive until the next garbage collection.
        refused.__context__ = None
        raise refused.with_traceback(None) from None


def _parse(data: bytes) -> ExportTraceServiceRequest:
    if not is_plausible(data):
        raise Refused(Code.INVALID, "the body is made of more things than any report")
    try:
        return ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        raise Refused(Code.INVALID, "the body is not an OTLP ExportTraceServiceRequest in protobuf") from None
