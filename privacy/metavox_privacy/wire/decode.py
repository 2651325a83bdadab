"""An OTLP request -> reports, each whole and valid or rejected with a reason.

What is kept is built of the schema's own words and of numbers. Whatever else a message holds either can say nothing
(unknown fields, flags, an empty status) and is ignored, or is a reason to reject the report.
"""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_privacy.report import Report
from metavox_privacy.schema import Schema
from metavox_privacy.wire.cell import CellReader
from metavox_privacy.wire.draft import Draft, spans_of
from metavox_privacy.wire.header import HeaderReader
from metavox_privacy.wire.rejected import Refusal, Rejected


class Decoder:
    """Reads what one schema permits. Built once; what it learns of a message is gone when it has been read."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.headers = HeaderReader(schema)
        self._cells = CellReader(schema)

    def decode(self, request: ExportTraceServiceRequest) -> list[Report | Rejected]:
        """Every report of a request, in the order in which they begin."""
        drafts: dict[str, Draft] = {}
        found: list[Draft | Rejected] = []
        for resource_spans in request.resource_spans:
            scopes = resource_spans.scope_spans
            try:
                header = self.headers.read(resource_spans)
            except Refusal as refusal:
                found.append(Rejected(refusal.reason, refusal.message, spans_of(scopes)))
                continue
            draft = drafts.get(header.report_id)
            if draft is None:
                draft = drafts[header.report_id] = Draft(header, self.schema, self._cells)
                found.append(draft)
            draft.add(header, scopes)
        return [item.finished() if isinstance(item, Draft) else item for item in found]


def decode(request: ExportTraceServiceRequest, schema: Schema) -> list[Report | Rejected]:
    """What :meth:`Decoder.decode` does, for one request alone."""
    return Decoder(schema).decode(request)
