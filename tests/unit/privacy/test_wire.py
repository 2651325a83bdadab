import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import Rejected, decode, encode
from tests.spans import example_report, example_span


def message(*reports):
    return ExportTraceServiceRequest.FromString(encode(reports or [example_report()], SCHEMA))


def only(request):
    (result,) = decode(request, SCHEMA)
    return result


def test_reports_survive_the_wire_unchanged():
    reports = [
        example_report(example_span(), example_span(metavox__model__quantization="int8"), token=b"1"),
        example_report(token=b"2", synthetic=True),
    ]
    assert decode(message(*reports), SCHEMA) == reports


def test_the_same_report_is_always_the_same_bytes():
    assert encode([example_report()], SCHEMA) == encode([example_report()], SCHEMA)


def test_times_on_the_wire_are_the_weeks_ends():
    span = message().resource_spans[0].scope_spans[0].spans[0]
    week = example_report().week
    assert span.start_time_unix_nano == week.start.timestamp() * 1e9
    assert span.end_time_unix_nano == week.end.timestamp() * 1e9


SECRET = "ada@example.org"


def _swap_keys(span):
    first, second = span.attributes[0].key, span.attributes[1].key
    span.attributes[0].key, span.attributes[1].key = second, first


def _negative_units(span):
    values = span.attributes[-2].value.array_value.values
    values[0].int_value, values[1].int_value = -5, values[1].int_value + 5


# Everything that could carry a word past the schema: (resource spans, scope spans, span) -> None.
SPOILERS = {
    "attribute": lambda r, s, x: x.attributes.add(key="user.name", value={"string_value": SECRET}),
    "resource attribute": lambda r, s, x: r.resource.attributes.add(
        key="host.name", value={"string_value": SECRET}
    ),
    "span name": lambda r, s, x: setattr(x, "name", SECRET),
    "event": lambda r, s, x: x.events.add(name=SECRET),
    "link": lambda r, s, x: x.links.add(trace_state=SECRET),
    "trace state": lambda r, s, x: setattr(x, "trace_state", SECRET),
    "status": lambda r, s, x: setattr(x.status, "message", SECRET),
    "scope": lambda r, s, x: setattr(s.scope, "name", SECRET),
    "scope version": lambda r, s, x: setattr(s.scope, "version", SECRET),
    "schema url": lambda r, s, x: setattr(r, "schema_url", SECRET),
    "span id": lambda r, s, x: setattr(x, "span_id", b"ada12345"),
    "trace id": lambda r, s, x: setattr(x, "trace_id", b"ada1234567890123"),
    "time": lambda r, s, x: setattr(x, "start_time_unix_nano", x.start_time_unix_nano + 1),
    "value of another type": lambda r, s, x: setattr(x.attributes[0].value, "int_value", 7),
    "word outside the vocabulary": lambda r, s, x: setattr(x.attributes[0].value, "string_value", SECRET),
    "order": lambda r, s, x: _swap_keys(x),
    "attribute twice": lambda r, s, x: x.attributes.append(x.attributes[0]),
    "missing dimension": lambda r, s, x: x.attributes.pop(0),
    "histogram that does not sum": lambda r, s, x: setattr(
        x.attributes[-2].value.array_value.values[0], "int_value", 300
    ),
    "negative units": lambda r, s, x: _negative_units(x),
    "histogram of another length": lambda r, s, x: x.attributes[-2].value.array_value.values.add(int_value=0),
    "same cell twice": lambda r, s, x: s.spans.append(x),
    "too many cells": lambda r, s, x: s.spans.extend([x] * SCHEMA.cells_per_report),
    "no cell": lambda r, s, x: s.spans.clear(),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_anything_beside_the_schema_is_rejected_and_never_repeated(spoil):
    request = message()
    resource_spans = request.resource_spans[0]
    scope = resource_spans.scope_spans[0]
    spoil(resource_spans, scope, scope.spans[0])
    result = only(request)
    assert isinstance(result, Rejected)
    assert SECRET not in result.reason
    assert result.spans == len(scope.spans)


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("metavox.week", "2026-W47x", "ISO week"),
        ("metavox.week", "2025-W53", "ISO week"),
        ("metavox.report.id", "ada", "SHA-256"),
        ("metavox.report.id", "G" * 64, "SHA-256"),
        ("metavox.schema.version", 2, "schema version 1"),
        ("metavox.purposes", ["improve", "sell everything"], "purpose"),
        ("metavox.purposes", [], "purpose"),
    ],
)
def test_a_bad_header_is_rejected_with_its_reason(attribute, value, reason):
    request = message()
    item = next(a for a in request.resource_spans[0].resource.attributes if a.key == attribute)
    item.value.Clear()
    if isinstance(value, list):
        item.value.array_value.SetInParent()
        for word in value:
            item.value.array_value.values.add().string_value = word
    elif isinstance(value, int):
        item.value.int_value = value
    else:
        item.value.string_value = value
    result = only(request)
    assert isinstance(result, Rejected)
    assert reason in result.reason


def test_one_bad_report_does_not_spoil_its_neighbours():
    request = message(example_report(token=b"1"), example_report(token=b"2"))
    request.resource_spans[0].scope_spans[0].spans[0].name = "x"
    bad, good = decode(request, SCHEMA)
    assert isinstance(bad, Rejected)
    assert good == example_report(token=b"2")
