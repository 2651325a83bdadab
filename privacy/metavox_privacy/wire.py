"""Report <-> OTLP: one trace for a report, one span for a cell, in OpenTelemetry's protobuf.

A report is accepted exactly as :func:`encode` can produce it, and refused with anything else in it that could
carry a word: other attributes, names, events, links, states, unknown fields, times finer than the week.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from metavox_privacy.anonymize import CellKey
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.report import Histogram, Report, ReportCell
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

SCOPE = "metavox.contribution"
SPAN_NAME = "metavox.cell"
_VERSION = "metavox.schema.version"
_WEEK = "metavox.week"
_REPORT_ID = "metavox.report.id"
_PURPOSES = "metavox.purposes"
_SYNTHETIC = "metavox.synthetic"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A report that was not understood or not allowed. The reason is one of ours, never a word of the sender's."""

    reason: str
    spans: int


class _Refusal(Exception):
    """Carries the reason out of the decoder; never leaves this module."""


def encode(reports: Iterable[Report], schema: Schema) -> bytes:
    """An ``ExportTraceServiceRequest`` of the reports, the same bytes for the same reports."""
    request = ExportTraceServiceRequest(resource_spans=[_encode_report(report, schema) for report in reports])
    return request.SerializeToString(deterministic=True)


def _encode_report(report: Report, schema: Schema) -> ResourceSpans:
    attributes = [
        _text(_REPORT_ID, report.report_id),
        KeyValue(key=_VERSION, value=AnyValue(int_value=report.schema_version)),
        _text(_WEEK, str(report.week)),
        KeyValue(key=_PURPOSES, value=_array(AnyValue(string_value=p) for p in PURPOSES if p in report.purposes)),
    ]
    if report.synthetic:
        attributes.append(KeyValue(key=_SYNTHETIC, value=AnyValue(bool_value=True)))
    scope = ScopeSpans(spans=[_encode_cell(report, index, schema) for index in range(len(report.cells))])
    scope.scope.name = SCOPE
    result = ResourceSpans(scope_spans=[scope])
    result.resource.attributes.extend(attributes)
    return result


def _encode_cell(report: Report, index: int, schema: Schema) -> OtlpSpan:
    cell = report.cells[index]
    trace_id, span_id = _ids(report.report_id, index)
    words = [_text(d.attribute, word) for d, word in zip(schema.dimensions, cell.key, strict=True)]
    numbers = [
        KeyValue(key=metric.attribute, value=_array(AnyValue(int_value=n) for n in cell.histograms[metric.name]))
        for metric in schema.metrics
        if metric.name in cell.histograms
    ]
    return OtlpSpan(
        trace_id=trace_id,
        span_id=span_id,
        name=SPAN_NAME,
        kind=OtlpSpan.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nano(report.week.start),
        end_time_unix_nano=_nano(report.week.end),
        attributes=[*words, *numbers],
    )


def _ids(report_id: str, index: int) -> tuple[bytes, bytes]:
    """Trace and span ids follow from the report's, so they say nothing of their own."""
    digest = hashlib.sha256(f"{report_id}/{index}".encode()).digest()
    return bytes.fromhex(report_id)[:16], digest[:8]


def _nano(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _array(values: Iterable[AnyValue]) -> AnyValue:
    return AnyValue(array_value=ArrayValue(values=list(values)))


def decode(request: ExportTraceServiceRequest, schema: Schema) -> list[Report | Rejected]:
    """Read every report of a request, each either whole and valid or rejected with a reason."""
    return [_decode_report(resource_spans, schema) for resource_spans in request.resource_spans]


def _decode_report(resource_spans: ResourceSpans, schema: Schema) -> Report | Rejected:
    try:
        report = _report_of(resource_spans, schema)
    except _Refusal as refusal:
        return Rejected(str(refusal), sum(len(scope.spans) for scope in resource_spans.scope_spans))
    return report


def _report_of(resource_spans: ResourceSpans, schema: Schema) -> Report:
    header = _Header.read(resource_spans.resource.attributes, schema)
    _require(len(resource_spans.scope_spans) == 1, "a report has one scope")
    spans = resource_spans.scope_spans[0].spans
    _require(
        0 < len(spans) <= schema.cells_per_report, f"a report holds between 1 and {schema.cells_per_report} cells"
    )
    cells = tuple(_decode_cell(span, schema) for span in spans)
    _require(len({cell.key for cell in cells}) == len(cells), "a report names the same cell twice")
    report = Report(header.report_id, header.week, schema.version, header.purposes, cells, header.synthetic)
    # What was understood must be all there was: encoding it again gives the same message, or else
    # something (a name, an event, a time, an unknown field) was there that the schema does not know.
    _require(
        _encode_report(report, schema) == resource_spans,
        "the report holds something beside the schema's fields, or times that are not its week's",
    )
    return report


@dataclass(frozen=True, slots=True)
class _Header:
    """What a report says of itself, in its resource's attributes."""

    report_id: str
    week: Week
    purposes: frozenset[Purpose]
    synthetic: bool

    @classmethod
    def read(cls, attributes: Sequence[KeyValue], schema: Schema) -> _Header:
        values = _named(attributes, {_REPORT_ID, _VERSION, _WEEK, _PURPOSES, _SYNTHETIC})
        version = values.get(_VERSION, AnyValue()).int_value
        _require(version == schema.version, f"this collector takes schema version {schema.version}")
        listed = values.get(_PURPOSES, AnyValue()).array_value.values
        _require(0 < len(listed) <= len(PURPOSES), _ODD_PURPOSES)
        named = {value.string_value for value in listed}
        purposes = frozenset(purpose for purpose in PURPOSES if purpose in named)
        _require(len(purposes) == len(listed), _ODD_PURPOSES)
        return cls(
            report_id=_report_id(values.get(_REPORT_ID, AnyValue()).string_value),
            week=_week(values.get(_WEEK, AnyValue()).string_value),
            purposes=purposes,
            synthetic=values.get(_SYNTHETIC, AnyValue()).bool_value,
        )


_UNKNOWN_ATTRIBUTE = "an attribute is not in the schema"
_ODD_PURPOSES = "a report names at least one known purpose, each once"


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _Refusal(reason)


def _named(attributes: Sequence[KeyValue], known: set[str]) -> Mapping[str, AnyValue]:
    """The attributes by name. Lengths are looked at before lists are walked: a hostile one may hold millions."""
    _require(len(attributes) <= len(known), _UNKNOWN_ATTRIBUTE)
    values = {item.key: item.value for item in attributes}
    _require(values.keys() <= known, _UNKNOWN_ATTRIBUTE)
    _require(len(values) == len(attributes), "an attribute is given twice")
    return values


def _week(text: str) -> Week:
    try:
        return Week.parse(text)
    except ValueError:
        raise _Refusal("metavox.week is not an ISO week") from None


def _report_id(text: str) -> str:
    _require(len(text) == 64 and set(text) <= set("0123456789abcdef"), "metavox.report.id is not a hex SHA-256")
    return text


def _decode_cell(span: OtlpSpan, schema: Schema) -> ReportCell:
    known = {dimension.attribute for dimension in schema.dimensions}
    values = _named(span.attributes, known | {metric.attribute for metric in schema.metrics})
    return ReportCell(_key(values, schema), _histograms(values, schema))


def _key(values: Mapping[str, AnyValue], schema: Schema) -> CellKey:
    key = tuple(values.get(d.attribute, AnyValue()).string_value for d in schema.dimensions)
    for dimension, word in zip(schema.dimensions, key, strict=True):
        _require(word in dimension.vocabulary, f"{dimension.attribute} is outside its vocabulary")
    return key


def _histograms(values: Mapping[str, AnyValue], schema: Schema) -> dict[str, Histogram]:
    histograms = {}
    for metric in schema.metrics:
        if metric.attribute not in values:
            continue
        listed = values[metric.attribute].array_value.values
        _require(len(listed) == metric.buckets, f"{metric.attribute} has not {metric.buckets} buckets")
        units = tuple(value.int_value for value in listed)
        _require(
            min(units) >= 0 and sum(units) == schema.units,
            f"{metric.attribute} does not sum to {schema.units}",
        )
        histograms[metric.name] = units
    return histograms
