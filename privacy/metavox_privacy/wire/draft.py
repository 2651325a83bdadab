"""A report that is put together from the spans of one request, wherever in it they are."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from metavox_privacy.report import Report, ReportCell
from metavox_privacy.schema import Schema
from metavox_privacy.wire import names
from metavox_privacy.wire.cell import CellReader
from metavox_privacy.wire.header import Header
from metavox_privacy.wire.rejected import BESIDE, Refusal, Rejected, require

_CONFLICT = "parts of a report contradict each other"
_SPLIT = "a report's first cells are missing; a relay must not split reports into several requests"
_KINDS = (Span.SPAN_KIND_UNSPECIFIED, Span.SPAN_KIND_INTERNAL)


class Draft:
    """One report's parts. A relay may split and reorder them, and may hold the same delivery twice."""

    def __init__(self, header: Header, schema: Schema, reader: CellReader) -> None:
        self._header = header
        self._schema = schema
        self._reader = reader
        self._trace_id = names.trace_id(header.report_id)
        self._places = {names.span_id(header.report_id, i): i for i in range(schema.cells_per_report)}
        self._cells: dict[int, ReportCell] = {}
        self._spans = 0
        self._refused: tuple[str, str] | None = None

    def add(self, header: Header, scopes: Sequence[ScopeSpans]) -> None:
        """Take the spans of one resource. After the first refusal the rest is counted and not read."""
        self._spans += spans_of(scopes)
        if self._refused is not None:
            return
        try:
            require(header == self._header, "conflicting_report", _CONFLICT)
            for scope in scopes:
                self._add_scope(scope)
        except Refusal as refusal:  # of which only the words are kept: its traceback holds the message
            self._refused = (refusal.reason, refusal.message)

    def finished(self) -> Report | Rejected:
        """The report, if it is whole."""
        try:
            return self._report()
        except Refusal as refusal:
            return Rejected(refusal.reason, refusal.message, self._spans)

    def _report(self) -> Report:
        if self._refused is not None:
            raise Refusal(*self._refused)
        number, header = len(self._cells), self._header
        require(number > 0, "no_cells", "a report holds at least one cell")
        require(max(self._cells) < number, "missing_cells", _SPLIT)
        cells = tuple(self._cells[place] for place in range(number))
        require(len({cell.key for cell in cells}) == number, "repeated_cell", "a report names the same cell twice")
        for cell in cells:
            header.frame.check(cell)
        return Report(
            header.report_id, header.frame.week, self._schema.version, header.purposes, cells, header.synthetic
        )

    def _add_scope(self, scope: ScopeSpans) -> None:
        about = scope.scope
        right = about.name == names.SCOPE and not about.version and not len(about.attributes)
        require(right and not about.dropped_attributes_count, "scope", f"the scope is not {names.SCOPE} alone")
        require(not scope.schema_url, "beside_schema", BESIDE)
        for span in scope.spans:
            self._add_span(span)

    def _add_span(self, span: Span) -> None:
        _require_bare(span)
        frame = self._header.frame
        right = span.start_time_unix_nano == frame.start and span.end_time_unix_nano == frame.end
        require(right, "times", "a span's times are not its week's")
        place = self._place(span)
        cell = self._reader.read(span)
        require(self._cells.setdefault(place, cell) == cell, "conflicting_report", _CONFLICT)

    def _place(self, span: Span) -> int:
        place = self._places.get(span.span_id)
        if place is None and self._spans > self._schema.cells_per_report:
            raise Refusal("too_many_cells", f"a report holds at most {self._schema.cells_per_report} cells")
        if place is None or span.trace_id != self._trace_id:
            raise Refusal("span_ids", "a span's ids do not follow from its report's")
        return place


def spans_of(scopes: Sequence[ScopeSpans]) -> int:
    """How many spans there are in all."""
    return sum(len(scope.spans) for scope in scopes)


def _require_bare(span: Span) -> None:
    """Refuse what could carry a word or a moment beside the attributes. Flags and unknown fields are not kept."""
    words = span.name != names.SPAN_NAME or span.trace_state or span.parent_span_id or span.kind not in _KINDS
    lists = len(span.events) or len(span.links) or span.dropped_events_count or span.dropped_links_count
    status = span.status.message or span.status.code != Status.STATUS_CODE_UNSET
    require(not (words or lists or status or span.dropped_attributes_count), "beside_schema", BESIDE)
