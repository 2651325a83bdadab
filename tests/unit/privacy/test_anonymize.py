from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.anonymize import anonymize
from metavox_privacy.fields import OTHER, UNKNOWN
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from tests.spans import START, WEEK, example_span

values = st.one_of(
    st.text(max_size=40),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.just(-(10**400)),
    st.just(10**5000),
    st.floats(),
    st.lists(st.text(max_size=5), max_size=3),
)
sources = st.sampled_from([field.source for field in (*SCHEMA.dimensions, *SCHEMA.metrics)])


@given(st.dictionaries(st.one_of(sources, st.text(max_size=20)), values, max_size=30))
def test_a_record_is_made_of_public_words_and_bucket_numbers_whatever_the_span_holds(attributes):
    span = Span("any", START, START + 1, {"gen_ai.request.model": "x", **attributes})
    record = anonymize(span, SCHEMA)
    assert record is not None
    assert record.week == WEEK
    for dimension, word in zip(SCHEMA.dimensions, record.cell, strict=True):
        assert word in dimension.vocabulary
    for name, bucket in record.buckets.items():
        assert 0 <= bucket < SCHEMA.metric[name].buckets


def test_a_private_model_is_other_and_a_path_does_not_survive():
    record = anonymize(example_span(gen_ai__request__model="/home/ada/models/secret"), SCHEMA)
    assert record is not None
    assert record.cell[SCHEMA.position["model"]] == OTHER
    assert record.cell[SCHEMA.position["architecture"]] == "Qwen3ForCausalLM"
    assert "ada" not in repr(record)


def test_a_span_of_something_else_is_dropped():
    assert anonymize(Span("GET /", START, START + 1, {"http.method": "GET"}), SCHEMA) is None


def test_what_a_span_does_not_state_is_absent_and_not_zero(span):
    attributes = {k: v for k, v in span.attributes.items() if k != "gen_ai.server.time_to_first_token"}
    record = anonymize(replace(span, attributes=attributes), SCHEMA)
    assert record is not None
    assert "time_to_first_token" not in record.buckets
    assert "time_per_output_token" in record.buckets


def test_only_the_presence_of_an_error_is_kept():
    assert anonymize(example_span(), SCHEMA).buckets["error_rate"] == 0
    assert anonymize(example_span(error__type="OutOfMemory on /home/ada"), SCHEMA).buckets["error_rate"] == 1


def test_an_expired_field_is_recorded_no_more(span):
    past = date(2026, 1, 1)
    schema = replace(
        SCHEMA,
        dimensions=tuple(replace(d, expires=past) if d.name == "os" else d for d in SCHEMA.dimensions),
        metrics=tuple(replace(m, expires=past) if m.name == "time_per_output_token" else m for m in SCHEMA.metrics),
    )
    record = anonymize(span, schema)
    assert record.cell[SCHEMA.position["os"]] == UNKNOWN
    assert "time_per_output_token" not in record.buckets
    assert anonymize(span, SCHEMA).cell[SCHEMA.position["os"]] == "linux"


def test_no_time_finer_than_the_week_is_in_a_record(span):
    later = replace(span, start_time=span.start_time + 10**15 // 3, end_time=span.end_time + 10**15 // 3)
    assert anonymize(span, SCHEMA) == anonymize(later, SCHEMA)


@pytest.mark.parametrize("end", [0, 10**26, 10**30, -1])
def test_a_request_of_no_week_is_dropped(span, end):
    assert anonymize(replace(span, end_time=end), SCHEMA) is None


def test_a_negative_quantity_is_unknown_and_not_small():
    record = anonymize(example_span(gen_ai__usage__input_tokens=-5), SCHEMA)
    assert record.cell[SCHEMA.position["input_tokens"]] == UNKNOWN
