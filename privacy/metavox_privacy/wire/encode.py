"""Reports -> the bytes that are sent and previewed; the same bytes for the same reports."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from metavox_privacy import fields
from metavox_privacy.report import Report
from metavox_privacy.schema import Schema
from metavox_privacy.wire import names


def encode(reports: Iterable[Report], schema: Schema) -> bytes:
    """An ``ExportTraceServiceRequest`` of the reports, the same bytes for the same reports."""
    request = ExportTraceServiceRequest(resource_spans=[_encode_report(report, schema) for report in reports])
    return request.SerializeToString(deterministic=True)


def _encode_report(report: Report, schema: Schema) -> ResourceSpans:
    scope = ScopeSpans(spans=[_encode_cell(report, index, schema) for index in range(len(report.cells))])
    scope.scope.name = names.SCOPE
    return ResourceSpans(resource=encode_header(report), scope_spans=[scope])


def encode_header(report: Report) -> Resource:
    """What a report says of itself, its cells left out."""
    purposes = (AnyValue(string_value=p) for p in fields.PURPOSES if p in report.purposes)
    attributes = [
        _text(names.REPORT_ID, report.report_id),
        KeyValue(key=names.VERSION, value=AnyValue(int_value=report.schema_version)),
        _text(names.WEEK, str(report.week)),
        KeyValue(key=names.PURPOSES, value=_array(purposes)),
    ]
    if report.synthetic:
        attributes.append(KeyValue(key=names.SYNTHETIC, value=AnyValue(bool_value=True)))
    return Resource(attributes=attributes)


def _encode_cell(report: Report, index: int, schema: Schema) -> Span:
    cell = report.cells[index]
    words = [_text(d.attribute, word) for d, word in zip(schema.dimensions, cell.key, strict=True)]
    numbers = [
        KeyValue(key=metric.attribute, value=_array(AnyValue(int_value=n) for n in cell.histograms[metric.name]))
        for metric in schema.metrics
        if metric.name in cell.histograms
    ]
    return Span(
        trace_id=names.trace_id(report.report_id),
        span_id=names.span_id(report.report_id, index),
        name=names.SPAN_NAME,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=names.nano(report.week.start),
        end_time_unix_nano=names.nano(report.week.end),
        attributes=[*words, *numbers],
    )


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _array(values: Iterable[AnyValue]) -> AnyValue:
    return AnyValue(array_value=ArrayValue(values=list(values)))
