"""Reports that come by OpenTelemetry's own exporter, and by relays that regroup what passes through them.

The stock OpenTelemetry Collector is no Python package; what its batch and groupbyattrs processors do is done here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from metavox_privacy.fields import PURPOSES
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import names
from tests.integration.collector.running import Collector, collector, staged
from tests.spans import example_report, example_span

FORMATS = ("bfloat16", "int8", "int4", "awq")


def report(token: bytes, cells: int = len(FORMATS)) -> Report:
    spans = [example_span(metavox__model__quantization=word) for word in FORMATS[:cells]]
    return example_report(*spans, token=token, synthetic=True)


def readable_spans(source: Report, **extra: str) -> list[ReadableSpan]:
    """A report as the spans of OpenTelemetry's SDK; ``extra`` is what a relay would add to the resource."""
    about = {
        names.REPORT_ID: source.report_id,
        names.VERSION: source.schema_version,
        names.WEEK: str(source.week),
        names.PURPOSES: [purpose for purpose in PURPOSES if purpose in source.purposes],
        names.SYNTHETIC: source.synthetic,
    }
    return [
        ReadableSpan(
            names.SPAN_NAME,
            SpanContext(
                int.from_bytes(names.trace_id(source.report_id), "big"),
                int.from_bytes(names.span_id(source.report_id, place), "big"),
                is_remote=False,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            ),
            resource=Resource(about | extra),
            attributes={
                **{m.attribute: cell.histograms[m.name] for m in SCHEMA.metrics if m.name in cell.histograms},
                **{d.attribute: word for d, word in zip(SCHEMA.dimensions, cell.key, strict=True)},
            },
            kind=SpanKind.INTERNAL,
            start_time=names.nano(source.week.start),
            end_time=names.nano(source.week.end),
            instrumentation_scope=InstrumentationScope(names.SCOPE),
        )
        for place, cell in enumerate(source.cells)
    ]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('exporters')}/collector.db"


@pytest.fixture(scope="module")
def service(db: str) -> Iterator[Collector]:
    with collector(db) as started:
        yield started


def assert_staged(db: str, reports: Sequence[Report]) -> None:
    """These reports, and each of their cells, once."""
    found = staged(db)
    expected = {source.report_id: len(source.cells) for source in reports}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("compression", list(Compression))
def test_opentelemetrys_exporter_delivers_reports(service, db, compression):
    reports = [report(f"{compression}{number}".encode(), cells=number) for number in (1, 2, 3, 4)]
    exporter = OTLPSpanExporter(f"{service.url}/v1/traces", compression=compression)
    spans = [span for source in reports for span in readable_spans(source)]
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert_staged(db, reports)


def partial(service: Collector, request: ExportTraceServiceRequest) -> tuple[int, str]:
    answer = service.post(request.SerializeToString())
    assert answer.status_code == 200
    told = ExportTraceServiceResponse.FromString(answer.content).partial_success
    return told.rejected_spans, told.error_message


def one_by_one(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Each span in a resource of its own, those of different reports in turns, the last of each first."""
    parts = ExportTraceServiceRequest()
    spans = [
        (place, resource_spans, span)
        for resource_spans in request.resource_spans
        for place, span in enumerate(resource_spans.scope_spans[0].spans)
    ]
    for _, resource_spans, span in sorted(spans, key=lambda item: item[0], reverse=True):
        part = parts.resource_spans.add(resource=resource_spans.resource)
        part.scope_spans.add(scope=resource_spans.scope_spans[0].scope, spans=[span])
    return parts


def test_a_relay_may_split_reports_over_the_resources_of_a_request(service, db):
    reports = [report(b"split 1"), report(b"split 2")]
    request = one_by_one(encode_spans([span for source in reports for span in readable_spans(source)]))
    assert len(request.resource_spans) == 8
    assert partial(service, request) == (0, "")
    assert_staged(db, reports)


def test_a_relay_may_batch_a_delivery_with_its_repetition(service, db):
    source = report(b"repeated")
    request = encode_spans(readable_spans(source))
    request.MergeFrom(encode_spans(readable_spans(source)))
    assert partial(service, request) == (0, "")
    assert partial(service, request) == (0, "")
    assert_staged(db, [source])


def test_a_relay_that_names_its_host_is_told_what_to_switch_off(service, db):
    source = report(b"with a host")
    rejected, message = partial(service, encode_spans(readable_spans(source, **{"host.name": "ada"})))
    assert (rejected, "resource attribute" in message, "ada" in message) == (4, True, False)
    assert staged(db)[source.report_id] == 0


def test_a_relay_that_splits_a_report_over_requests_loses_cells_and_never_counts_them_twice(service, db):
    source = report(b"cut")
    whole = one_by_one(encode_spans(readable_spans(source)))
    first, last = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    last.resource_spans.extend(whole.resource_spans[:2])
    first.resource_spans.extend(whole.resource_spans[2:])
    assert partial(service, first) == (0, "")
    rejected, message = partial(service, last)
    assert (rejected, "relay" in message) == (2, True)
    assert Counter(staged(db))[source.report_id] == 2
