"""Reports survive the wire; nothing beside them does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_privacy.fields import UNKNOWN
from metavox_privacy.report import apportion
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import REASONS, Canonical, Decoder, Rejected, decode, encode
from tests.spans import example_report, example_span

DECODER = Decoder(SCHEMA)
CANONICAL = Canonical(DECODER)
FORMATS = ("bfloat16", "int8", "int4", "awq", "gptq", "gguf")


def report_of(cells: int, token: bytes = b"token", **options):
    spans = [example_span(metavox__model__quantization=word) for word in FORMATS[:cells]]
    return example_report(*spans, token=token, **options)


def message(*reports):
    return ExportTraceServiceRequest.FromString(encode(reports or [example_report()], SCHEMA))


def only(request):
    """The one result, of whose bytes the quick reader says the same or nothing."""
    (result,) = DECODER.decode(request)
    assert CANONICAL.read(request.SerializeToString()) in (None, [result])
    return result


def test_reports_survive_the_wire_unchanged():
    reports = [report_of(2, b"1"), report_of(4, b"2", synthetic=True)]
    assert decode(message(*reports), SCHEMA) == reports
    assert CANONICAL.read(encode(reports, SCHEMA)) == reports


def test_the_same_report_is_always_the_same_bytes():
    assert encode([example_report()], SCHEMA) == encode([example_report()], SCHEMA)


def test_times_on_the_wire_are_the_weeks_ends():
    span = message().resource_spans[0].scope_spans[0].spans[0]
    week = example_report().week
    assert span.start_time_unix_nano == week.start.timestamp() * 1e9
    assert span.end_time_unix_nano == week.end.timestamp() * 1e9


SECRET = "ada@example.org"


def _units(span, *units):
    values = span.attributes[-2].value.array_value.values
    for value, number in zip(values, units, strict=False):
        value.int_value = number


def _set(item, **fields):
    for name, value in fields.items():
        setattr(item, name, value)


def _add(items, key, text):
    items.add(key=key, value={"string_value": text})


# Everything that could carry a word past the schema: reason -> what -> (resource spans, scope spans, span) -> None.
SPOILERS = {
    "unknown_attribute": {
        "attribute": lambda r, s, x: _add(x.attributes, "user.name", SECRET),
        "attribute in place of another": lambda r, s, x: _set(x.attributes[0], key=SECRET),
        "resource attribute": lambda r, s, x: _add(r.resource.attributes, "host.name", SECRET),
        "resource attribute in place of another": lambda r, s, x: _set(r.resource.attributes[2], key=SECRET),
    },
    "repeated_attribute": {
        "a word twice": lambda r, s, x: x.attributes[0].CopyFrom(x.attributes[1]),
        "a histogram twice": lambda r, s, x: x.attributes[-1].CopyFrom(x.attributes[-2]),
        "a resource attribute twice": lambda r, s, x: r.resource.attributes.append(r.resource.attributes[0]),
    },
    "beside_schema": {
        "span name": lambda r, s, x: _set(x, name=SECRET),
        "event": lambda r, s, x: x.events.add(name=SECRET),
        "link": lambda r, s, x: x.links.add(trace_state=SECRET),
        "trace state": lambda r, s, x: _set(x, trace_state=SECRET),
        "parent": lambda r, s, x: _set(x, parent_span_id=b"ada12345"),
        "kind": lambda r, s, x: _set(x, kind=3),
        "status message": lambda r, s, x: _set(x.status, message=SECRET),
        "status code": lambda r, s, x: _set(x.status, code=2),
        "schema url": lambda r, s, x: _set(r, schema_url=SECRET),
        "scope's schema url": lambda r, s, x: _set(s, schema_url=SECRET),
        "entity": lambda r, s, x: r.resource.entity_refs.add(type=SECRET),
        "dropped attributes": lambda r, s, x: _set(x, dropped_attributes_count=1),
        "dropped events": lambda r, s, x: _set(x, dropped_events_count=1),
        "dropped links": lambda r, s, x: _set(x, dropped_links_count=1),
        "dropped resource attributes": lambda r, s, x: _set(r.resource, dropped_attributes_count=1),
    },
    "scope": {
        "scope": lambda r, s, x: _set(s.scope, name=SECRET),
        "scope version": lambda r, s, x: _set(s.scope, version=SECRET),
        "scope attribute": lambda r, s, x: _add(s.scope.attributes, "user.name", SECRET),
        "dropped scope attributes": lambda r, s, x: _set(s.scope, dropped_attributes_count=1),
    },
    "span_ids": {
        "span id": lambda r, s, x: _set(x, span_id=b"ada12345"),
        "trace id": lambda r, s, x: _set(x, trace_id=b"ada1234567890123"),
    },
    "times": {
        "start": lambda r, s, x: _set(x, start_time_unix_nano=x.start_time_unix_nano + 1),
        "end": lambda r, s, x: _set(x, end_time_unix_nano=x.end_time_unix_nano - 1),
    },
    "vocabulary": {
        "value of another type": lambda r, s, x: _set(x.attributes[0].value, int_value=7),
        "a mark of another type": lambda r, s, x: _add(r.resource.attributes, "metavox.synthetic", "true"),
        "word outside the vocabulary": lambda r, s, x: _set(x.attributes[0].value, string_value=SECRET),
    },
    "missing_attribute": {"missing dimension": lambda r, s, x: x.attributes.pop(0)},
    "units": {
        "histogram that does not sum": lambda r, s, x: _units(x, 300),
        "negative units": lambda r, s, x: _units(x, -5, 261),
        "a bucket of 2^63 - 1": lambda r, s, x: _units(x, 2**63 - 1),
        "words in an empty bucket": lambda r, s, x: _set(
            x.attributes[-2].value.array_value.values[0], string_value=SECRET
        ),
        "an empty bucket of no type": lambda r, s, x: x.attributes[-2].value.array_value.values[0].Clear(),
    },
    "buckets": {
        "histogram of another length": lambda r, s, x: x.attributes[-2].value.array_value.values.add(int_value=0),
        "histogram that is a word": lambda r, s, x: _set(x.attributes[-2].value, string_value=SECRET),
    },
    "conflicting_report": {"the same span with another cell": lambda r, s, x: _twice_with_another_word(s, x)},
    "no_cells": {"no span": lambda r, s, x: s.spans.clear(), "no scope": lambda r, s, x: r.scope_spans.clear()},
}


def _twice_with_another_word(scope, span):
    other = scope.spans.add()
    other.CopyFrom(span)
    other.attributes[0].value.string_value = UNKNOWN


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        pytest.param(reason, spoil, id=name)
        for reason, spoilers in SPOILERS.items()
        for name, spoil in spoilers.items()
    ],
)
def test_anything_beside_the_schema_is_rejected_and_never_repeated(reason, spoil):
    request = message()
    resource_spans = request.resource_spans[0]
    scope = resource_spans.scope_spans[0]
    spoil(resource_spans, scope, scope.spans[0])
    result = only(request)
    assert result == Rejected(reason, result.message, sum(len(s.spans) for s in resource_spans.scope_spans))
    assert "ada" not in result.message


HEADERS = [
    ("metavox.week", "2026-W47x", "week"),
    ("metavox.week", "2025-W53", "week"),
    ("metavox.report.id", "ada", "report_id"),
    ("metavox.report.id", "G" * 64, "report_id"),
    ("metavox.schema.version", SCHEMA.version + 1, "schema_version"),
    ("metavox.purposes", ["improve", "sell everything"], "purposes"),
    ("metavox.purposes", ["improve", "improve"], "purposes"),
    ("metavox.purposes", [], "purposes"),
]


@pytest.mark.parametrize(("attribute", "value", "reason"), HEADERS)
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
    assert result.reason == reason


def _spans(request):
    return request.resource_spans[0].scope_spans[0].spans


def test_a_report_of_five_cells_is_rejected():
    wide = replace(SCHEMA, cells_per_report=5)
    spans = [example_span(metavox__model__quantization=word) for word in FORMATS[:5]]
    body = encode([example_report(*spans, schema=wide)], wide)
    assert CANONICAL.read(body) is None
    assert only(ExportTraceServiceRequest.FromString(body)).reason == "too_many_cells"


def test_two_cells_of_the_same_key_are_rejected():
    request = message(report_of(2))
    for i in range(2):
        del _spans(request)[i].attributes[:]
        _spans(request)[i].attributes.extend(_spans(message())[0].attributes)
    assert only(request).reason == "repeated_cell"


def test_a_part_of_a_report_without_its_first_cell_is_rejected():
    request = message(report_of(3))
    _spans(request).pop(0)
    assert only(request).reason == "missing_cells"


def test_one_bad_report_does_not_spoil_its_neighbours():
    request = message(example_report(token=b"1"), example_report(token=b"2"))
    request.resource_spans[0].scope_spans[0].spans[0].name = "x"
    bad, good = decode(request, SCHEMA)
    assert isinstance(bad, Rejected)
    assert good == example_report(token=b"2")


EXPIRY = date(2026, 11, 16)  # the Monday of the example's week, 2026-W47


def _expiring(day, attribute):
    dimensions = tuple(replace(d, expires=day) if d.attribute == attribute else d for d in SCHEMA.dimensions)
    metrics = tuple(replace(m, expires=day) if m.attribute == attribute else m for m in SCHEMA.metrics)
    return replace(SCHEMA, dimensions=dimensions, metrics=metrics)


@pytest.mark.parametrize("attribute", ["os.type", "gen_ai.server.time_per_output_token"])
def test_what_is_reported_of_an_expired_field_is_rejected(attribute):
    for day, taken in ((EXPIRY, False), (date(2026, 11, 17), True)):
        decoder = Decoder(_expiring(day, attribute))
        (result,) = decoder.decode(message())
        assert isinstance(result, Rejected) is not taken
        assert Canonical(decoder).read(message().SerializeToString()) == ([result] if taken else None)
        if not taken:
            assert (result.reason, result.message) == ("expired_field", f"{attribute} has expired")


@pytest.mark.parametrize("attribute", ["os.type", "gen_ai.server.time_per_output_token"])
def test_a_report_that_leaves_an_expired_field_out_is_taken(attribute):
    schema = _expiring(EXPIRY, attribute)
    report = example_report(schema=schema)
    assert report != example_report()
    assert Decoder(schema).decode(message(report)) == [report]
    assert Canonical(Decoder(schema)).read(encode([report], schema)) == [report]


def test_every_reason_is_one_that_a_test_shows():
    shown = {*SPOILERS, *(reason for _, _, reason in HEADERS)}
    shown |= {"too_many_cells", "repeated_cell", "missing_cells", "expired_field"}
    assert shown == set(REASONS)


def test_every_word_of_every_vocabulary_takes_the_quick_way():
    cell = example_report().cells[0]
    for place, dimension in enumerate(SCHEMA.dimensions):
        for word in dimension.vocabulary:
            key = (*cell.key[:place], word, *cell.key[place + 1 :])
            report = replace(example_report(), cells=(replace(cell, key=key),))
            assert CANONICAL.read(encode([report], SCHEMA)) == [report]


def test_every_number_of_units_takes_the_quick_way():
    cell = example_report().cells[0]
    for units in range(257):
        histogram = (units, *apportion([1] * 63, 256 - units)) if units < 256 else (256, *[0] * 63)
        histograms = {**cell.histograms, "time_per_output_token": histogram}
        report = replace(example_report(), cells=(replace(cell, histograms=histograms),))
        assert CANONICAL.read(encode([report], SCHEMA)) == [report]


@pytest.mark.parametrize("week", [Week(2020, 1), Week(2026, 53), Week(2200, 1)])
def test_every_week_takes_the_quick_way_until_its_fields_expire(week):
    report = replace(example_report(), week=week)
    expected = [report] if week.year < 2028 else None
    assert CANONICAL.read(encode([report], SCHEMA)) == expected
