"""What relays do to reports on their way: cut, shuffle, repeat and decorate them."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import Canonical, Decoder, Rejected, encode
from tests.spans import example_report, example_span

DECODER = Decoder(SCHEMA)
CANONICAL = Canonical(DECODER)
CELLS = [example_span(metavox__model__quantization=word) for word in ("bfloat16", "int8", "int4", "awq")]
REPORTS = [example_report(*CELLS[:number], token=bytes([number])) for number in (1, 2, 3, 4)]
BODY = encode(REPORTS, SCHEMA)


def request() -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(BODY)


def one_span_each(resource_spans: ResourceSpans) -> list[ResourceSpans]:
    """The same report with a resource and a scope around each span."""
    parts = []
    for span in resource_spans.scope_spans[0].spans:
        part = ResourceSpans(resource=resource_spans.resource)
        part.scope_spans.add(scope=resource_spans.scope_spans[0].scope, spans=[span])
        parts.append(part)
    return parts


def by_id(found):
    return sorted(found, key=lambda report: report.report_id)


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 9), max_size=5))
def test_spans_are_joined_wherever_in_a_request_they_are_and_however_often(chance: random.Random, again):
    parts = [part for resource_spans in request().resource_spans for part in one_span_each(resource_spans)]
    parts += [parts[index] for index in again]
    chance.shuffle(parts)
    for part in parts:
        attributes = list(part.scope_spans[0].spans[0].attributes)
        shuffled = chance.sample(attributes, len(attributes))
        del part.scope_spans[0].spans[0].attributes[:]
        part.scope_spans[0].spans[0].attributes.extend(shuffled)
    found = DECODER.decode(ExportTraceServiceRequest(resource_spans=parts))
    assert by_id(found) == by_id(REPORTS)


def test_spans_of_one_resource_may_be_in_several_scopes():
    relayed = request()
    for resource_spans in relayed.resource_spans:
        parts = one_span_each(resource_spans)
        del resource_spans.scope_spans[:]
        resource_spans.scope_spans.extend(part.scope_spans[0] for part in reversed(parts))
    assert DECODER.decode(relayed) == REPORTS


def test_the_same_delivery_twice_in_a_request_is_one_report():
    assert DECODER.decode(ExportTraceServiceRequest.FromString(BODY + BODY)) == REPORTS
    assert CANONICAL.read(BODY + BODY) is None


def test_parts_that_name_different_purposes_are_one_rejected_report():
    whole = REPORTS[1]
    less = encode([replace(whole, purposes=frozenset({"improve"}))], SCHEMA)
    both = ExportTraceServiceRequest.FromString(encode([whole], SCHEMA) + less)
    (result,) = DECODER.decode(both)
    assert (result.reason, result.spans) == ("conflicting_report", 4)


def test_a_part_that_is_rejected_rejects_the_whole_report_and_counts_all_its_spans():
    parts = one_span_each(request().resource_spans[3])
    parts[1].scope_spans[0].spans[0].name = "x"
    (result,) = DECODER.decode(ExportTraceServiceRequest(resource_spans=parts))
    assert isinstance(result, Rejected)
    assert (result.reason, result.spans) == ("beside_schema", 4)


UNKNOWN = b"\xfa\x3f\x03ada"  # field 1023, "ada"


def test_what_relays_add_without_a_word_in_it_is_ignored_and_an_unknown_field_is_not_kept():
    relayed = request()
    for resource_spans in relayed.resource_spans:
        resource_spans.MergeFromString(UNKNOWN)
        resource_spans.resource.MergeFromString(UNKNOWN)
        for span in resource_spans.scope_spans[0].spans:
            span.flags = 0x101
            span.kind = Span.SPAN_KIND_UNSPECIFIED
            span.status.SetInParent()
            span.MergeFromString(UNKNOWN)
            span.attributes[0].value.MergeFromString(UNKNOWN)
            span.attributes[-1].value.array_value.values[0].MergeFromString(UNKNOWN)
    assert b"ada" in relayed.SerializeToString()
    assert DECODER.decode(relayed) == REPORTS
    assert CANONICAL.read(relayed.SerializeToString()) is None
    assert "ada" not in repr(DECODER.decode(relayed))
