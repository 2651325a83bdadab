"""What other instrumentations call the schema's attributes, by spans that they emitted."""

from __future__ import annotations

from typing import Any

import pytest

from metavox.telemetry.foreign.aliases import ALIASES, SOURCES, Told, in_schema_words, is_request, names_of
from tests.spans import START
from tests.unit.sdk.telemetry.foreign.recordings import NAMES, recording

TTFT = "gen_ai.server.time_to_first_token"
TPOT = "gen_ai.server.time_per_output_token"
DURATION = "gen_ai.server.request.duration"


def told(attributes: dict[str, Any], seconds: float = 1.0, **more: Any) -> Told:
    return Told(attributes, more.pop("events", ()), START, START + round(seconds * 1e9), **more)


def words(attributes: dict[str, Any], seconds: float = 1.0, **more: Any) -> dict[str, Any]:
    return in_schema_words(told(attributes, seconds, **more))


def recorded(name: str, at: int) -> dict[str, Any]:
    span = recording(name)["spans"][at]
    events = [(event["name"], START + event["time"]) for event in span["events"]]
    seen_by = "engine" if span["kind"] == "SERVER" else "client"
    return words(span["attributes"], span["duration"] / 1e9, events=events, seen_by=seen_by)


def test_every_alias_stands_for_a_source_of_the_schema():
    assert set(ALIASES) <= set(SOURCES)


def test_no_name_stands_for_two_sources():
    names = [name for source in SOURCES for name in names_of(source)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("source", SOURCES)
def test_the_schemas_own_name_comes_before_all_others(source: str):
    assert names_of(source)[0] == source


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("openllmetry_ollama", 0, {"gen_ai.request.stream": False}),
        ("openllmetry_ollama", 1, {"gen_ai.request.stream": True}),
        ("openllmetry_openai", 1, {"gen_ai.request.stream": True, TTFT: 0.132, TPOT: 0.0454}),
        ("openinference_ollama", 0, {}),
        ("openinference_openai", 1, {"gen_ai.request.stream": True, TTFT: 0.126, TPOT: 0.0451}),
        ("openlit_ollama", 0, {"gen_ai.request.stream": False}),
        ("openlit_openai", 1, {"gen_ai.request.stream": True, TTFT: 0.123, TPOT: 0.0361}),
        ("semconv_openai", 0, {}),
    ],
)
def test_a_recorded_span_says_lengths_and_times(name: str, at: int, expected: dict[str, Any]):
    found = recorded(name, at)

    assert found["gen_ai.usage.input_tokens"] == 26
    assert found["gen_ai.usage.output_tokens"] == 9
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=0.02)
    assert set(found) <= set(SOURCES)


@pytest.mark.parametrize("name", ["openlit_ollama", "openlit_openai"])
def test_the_time_to_the_first_token_of_a_whole_answer_is_not_its_duration(name: str):
    found = recorded(name, 0)

    assert recording(name)["spans"][0]["attributes"][TTFT] > 0.5
    assert not {TTFT, TPOT} & set(found)


def test_a_span_that_ended_before_its_stream_says_nothing_of_the_time_between_tokens():
    span = recording("openlit_ollama")["spans"][1]
    attributes = {name: value for name, value in span["attributes"].items() if name != TPOT}

    assert span["duration"] < 0.001 * 1e9
    assert recorded("openlit_ollama", 1)[TPOT] == span["attributes"][TPOT]
    assert TPOT not in words(attributes, span["duration"] / 1e9)


def test_vllms_own_times_are_read_with_its_decode_time_alone():
    found = recorded("vllm", 0)

    assert found[TTFT] == 0.05
    assert found[TPOT] == pytest.approx(1.2 / 100)
    assert found["gen_ai.usage.input_tokens"] == 512


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_the_tables_names_is_read(name: str):
    allowed = {alias for source in SOURCES for alias in names_of(source)}
    for span in recording(name)["spans"]:
        secrets = {key: "a secret" for key in span["attributes"] if key not in allowed}
        found = words({**span["attributes"], **secrets})

        assert "a secret" not in found.values()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.prompt_tokens": 7}, 5),
        ({"gen_ai.usage.prompt_tokens": 7, "llm.token_count.prompt": 9}, 7),
        ({"llm.token_count.prompt": 9}, 9),
        ({"llm.usage.prompt_tokens": 11}, 11),
    ],
)
def test_the_current_conventions_win_over_older_names(attributes: dict[str, Any], expected: int):
    assert words(attributes)["gen_ai.usage.input_tokens"] == expected


def test_times_between_tokens_follow_from_the_whole_and_the_first():
    found = words({"gen_ai.response.time_to_first_chunk": 0.2, "gen_ai.usage.output_tokens": 9}, 1.0)

    assert found[TPOT] == pytest.approx(0.1)


@pytest.mark.parametrize("name", [DURATION, "gen_ai.latency.e2e", "gen_ai.client.operation.duration"])
def test_a_stated_duration_comes_before_the_spans_own(name: str):
    assert words({TTFT: 0.2, "gen_ai.usage.output_tokens": 9, name: 1.8}, 1.0)[TPOT] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "attributes",
    [
        {TTFT: 0.2},
        {TTFT: 0.2, "gen_ai.usage.output_tokens": 1},
        {TTFT: 0.2, "gen_ai.usage.output_tokens": 9, "gen_ai.request.choice.count": 3},
        {TTFT: 0.2, "gen_ai.usage.output_tokens": "many"},
        {"gen_ai.usage.output_tokens": 9},
    ],
)
def test_without_the_first_tokens_time_one_answer_and_its_length_none_follow(attributes: dict[str, Any]):
    assert TPOT not in words(attributes)


@pytest.mark.parametrize("odd", [-1, float("nan"), float("inf"), "soon", True, [0.1], 10**400])
def test_an_odd_time_is_no_time(odd: object):
    assert words({TTFT: odd, TPOT: odd, DURATION: odd}) == {}


@pytest.mark.parametrize("name", [TPOT, "gen_ai.server.tbt"])
def test_no_time_between_tokens_is_written_as_nought_and_is_none(name: str):
    assert words({name: 0.0}) == {}


def test_only_a_stream_has_a_first_chunk():
    assert words({"gen_ai.response.time_to_first_chunk": 0.2})["gen_ai.request.stream"] is True


def test_nothing_follows_from_a_first_token_after_the_end():
    assert TPOT not in words({TTFT: 50, "gen_ai.usage.output_tokens": 9}, 1.0)


def test_an_event_before_the_start_is_no_first_token():
    found = words({}, events=[("First Token Stream Event", START - 1)])

    assert TTFT not in found


@pytest.mark.parametrize("more", [{"has_failed": True}, {}])
def test_a_failed_request_has_an_error_and_no_times(more: dict[str, Any]):
    attributes = {TTFT: 0.1, DURATION: 0.2} if more else {TTFT: 0.1, "error.type": "TimeoutError"}
    found = words(attributes, **more)

    assert found == {"error.type": "_OTHER" if more else "TimeoutError"}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.operation.name": "chat"}, True),
        ({"gen_ai.operation.name": "embeddings"}, False),
        ({"gen_ai.operation.name": "invoke_agent", "openinference.span.kind": "LLM"}, False),
        ({"llm.request.type": "completion"}, True),
        ({"llm.request.type": "rerank"}, False),
        ({"openinference.span.kind": "LLM"}, True),
        ({"openinference.span.kind": "CHAIN"}, False),
        ({"gen_ai.request.model": "m"}, None),
        ({"gen_ai.operation.name": "chat", "gen_ai.output.type": "json"}, True),
        ({"gen_ai.operation.name": "generate_content", "gen_ai.output.type": "image"}, False),
    ],
)
def test_what_says_that_a_model_answered(attributes: dict[str, Any], expected: bool | None):
    assert is_request(attributes) is expected
