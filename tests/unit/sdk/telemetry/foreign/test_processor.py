"""ContributionProcessor: a real provider, and spans of somebody else's instrumentation."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from metavox.errors import InvalidArgument
from metavox.telemetry import ContributionProcessor
from metavox.telemetry.foreign.aliases import SOURCES, names_of
from metavox.telemetry.foreign.instrumented import patch_once, remove
from metavox.telemetry.home.folders import Home
from metavox_privacy.anonymize import anonymize
from metavox_privacy.report import count
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from tests.spans import ATTRIBUTES, START, WEEK, example_span
from tests.unit.sdk.telemetry.foreign.recordings import NAMES, provider_of, recording, replay
from tests.unit.sdk.telemetry.kept import Kept
from tests.unit.sdk.telemetry.shared import agree, contribution_to, home_in, journal_in, record_of

LOCAL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "server.address": "localhost"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path)


def finish(processor: ContributionProcessor, *, scope: str = "other", **changes: object) -> None:
    """One request of vLLM, told by another instrumentation; ``changes`` as in `example_span`."""
    span = example_span(**{"metavox__engine__name": "vllm", **changes})
    tracer = provider_of(processor).get_tracer(scope, "1.0")
    tracer.start_span("chat", attributes=dict(span.attributes), start_time=span.start_time).end(span.end_time)


def counted(*spans: tuple[str, dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """What is counted of spans, each a scope and its attributes."""
    kept = Kept()
    provider = provider_of(ContributionProcessor(kept, **settings))
    for scope, attributes in spans:
        tracer = provider.get_tracer(scope)
        tracer.start_span("chat", attributes=attributes, start_time=START).end(START + 10**9)
    return [dict(span.attributes) for span in kept.spans]


def test_a_foreign_span_is_counted_like_our_own(home: Home):
    agree(home)
    processor = ContributionProcessor(contribution_to(home))
    finish(processor, gen_ai__prompt="a secret", gen_ai__operation__name="chat")
    processor.force_flush()

    same = example_span(metavox__engine__name="vllm")
    assert journal_in(home).counts(WEEK) == count([record_of(same)], WEEK, SCHEMA)


def test_without_a_yes_no_file_is_made(home: Home, tmp_path: Path):
    processor = ContributionProcessor(contribution_to(home))
    finish(processor)
    processor.shutdown()

    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_counts_nothing_of_its_parents_and_waits_for_no_lock_of_theirs(home: Home):
    agree(home)
    processor = ContributionProcessor(contribution_to(home))
    finish(processor)
    with processor._nesting._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork beside torch's threads
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever fails
            try:
                processor._nesting.began(1, 2)
                processor.force_flush()
                os._exit(0)
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert not home.journal_file.exists()
    processor.force_flush()
    assert home.journal_file.exists()


def test_our_own_spans_are_not_counted_twice():
    assert counted(("metavox", dict(ATTRIBUTES))) == []


@pytest.mark.parametrize("operation", ["embeddings", "execute_tool", "invoke_agent"])
def test_other_operations_are_not_requests(operation: str):
    assert counted(("other", {**LOCAL, "gen_ai.operation.name": operation})) == []


def test_a_span_that_does_not_say_what_it_is_is_no_request():
    assert counted(("other", {"metavox.engine.name": "vllm", "gen_ai.request.model": "m"})) == []


@pytest.mark.parametrize("provider", ["openai", "aws.bedrock", ["vllm"], ""])
def test_a_request_to_a_remote_service_says_nothing_of_this_machine(provider: object):
    assert counted(("other", {**LOCAL, "gen_ai.provider.name": provider})) == []


def test_while_contributions_are_off_no_span_is_looked_at():
    read: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            read.append(name)  # to raise here would prove nothing: the processor lets no error out
            raise AttributeError(name)

    kept = Kept(on=False)
    processor = ContributionProcessor(kept)
    processor.on_start(Watched())
    processor.on_end(Watched())
    assert read == []

    kept.on = True
    processor.on_start(Watched())
    processor.on_end(Watched())
    assert len(read) == 2


@pytest.mark.parametrize("broken", [None, object()])
def test_a_span_that_cannot_be_read_raises_nothing(broken: object):
    processor = ContributionProcessor(Kept())
    processor.on_start(broken)
    processor.on_end(broken)


@pytest.mark.parametrize("name", NAMES)
def test_of_recorded_spans_only_the_schemas_sources_are_kept(name: str):
    kept = Kept()
    replay(name, ContributionProcessor(kept, engine="vllm"))

    assert all(set(span.attributes) <= set(SOURCES) for span in kept.spans)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("openlit_ollama", 3),  # says that the server is at 127.0.0.1
        ("vllm", 1),  # one request, one part of a request for two answers, one span of loading
        ("sglang", 1),
        ("openllmetry_ollama", 0),  # do not say where the server is
        ("openinference_ollama", 0),
        ("openllmetry_openai", 0),  # do not say which engine is at 127.0.0.1
        ("openlit_openai", 0),
        ("semconv_openai", 0),
        ("openinference_openai", 0),
        ("openllmetry_transformers", 0),  # are whole calls of any number of prompts
        ("openlit_transformers", 0),
    ],
)
def test_recorded_spans_are_counted_where_they_say_which_engine_ran_here(name: str, number: int):
    kept = Kept()
    replay(name, ContributionProcessor(kept))

    assert len(kept.spans) == number


@pytest.mark.parametrize("name", ["openllmetry_openai", "openinference_openai", "openlit_openai", "semconv_openai"])
def test_they_are_counted_when_the_program_knows_its_server(name: str):
    kept = Kept()
    replay(name, ContributionProcessor(kept, engine="vllm"))

    assert [span.attributes["metavox.engine.name"] for span in kept.spans] == ["vllm", "vllm"]
    assert [span.attributes["gen_ai.request.model"] for span in kept.spans] == ["Qwen/Qwen3-0.6B"] * 2


@pytest.mark.parametrize("name", ["openllmetry_ollama", "openinference_ollama"])
def test_a_program_may_say_that_its_ollama_is_here(name: str):
    kept = Kept()
    replay(name, ContributionProcessor(kept, engine="ollama"))

    assert len(kept.spans) == len(recording(name)["spans"])


@pytest.mark.parametrize("engine", ["metavox", "openai", "other", "unknown", ""])
def test_an_engine_that_the_schema_does_not_know_is_refused(engine: str):
    with pytest.raises(InvalidArgument, match="must be one of"):
        ContributionProcessor(Kept(), engine=engine)


def test_a_model_that_is_not_named_is_unknown_and_no_reason_to_drop_the_request():
    kept = Kept()
    replay("vllm", ContributionProcessor(kept))

    assert record_of(kept.spans[0]).cell[SCHEMA.position["model"]] == "unknown"


NAMED = [name for source in SOURCES for name in names_of(source)]
VALUES = st.one_of(
    st.text().map("s3cret".__add__),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.lists(st.just("s3cret"), max_size=2),
)


@given(st.dictionaries(st.one_of(st.sampled_from(NAMED), st.text(min_size=1)), VALUES))
def test_whatever_a_span_holds_its_record_is_made_of_public_words(attributes: dict[str, Any]):
    for found in counted(("other", {**attributes, **LOCAL})):
        record = anonymize(Span("chat", START, START + 1, found), SCHEMA)

        assert record is not None
        assert "s3cret" not in repr(record)
        for word, dimension in zip(record.cell, SCHEMA.dimensions, strict=True):
            assert word in dimension.vocabulary


def test_what_the_span_does_not_say_of_the_machine_the_machine_says():
    (found,) = counted(("other", LOCAL))

    assert found["os.type"]
    assert "hw.model" not in found  # a server has its own device, and nobody said which
    assert "metavox.hw.count" not in found


def test_what_the_span_says_of_the_machine_wins():
    (found,) = counted(("other", {**LOCAL, "os.type": "freebsd", "hw.model": "NVIDIA H100"}))

    assert (found["os.type"], found["hw.model"]) == ("freebsd", "NVIDIA H100")


def test_two_instrumentations_around_one_another_count_a_request_once():
    kept = Kept()
    provider = provider_of(ContributionProcessor(kept))
    outer = provider.get_tracer("one").start_span("chat", attributes=LOCAL, kind=SpanKind.INTERNAL)
    with trace.use_span(outer):
        between = provider.get_tracer("http").start_span("POST")
        with trace.use_span(between):
            provider.get_tracer("one").start_span(
                "chat", attributes={**LOCAL, "gen_ai.request.model": "inner"}
            ).end()
        between.end()
    outer.end()

    assert [span.attributes["gen_ai.request.model"] for span in kept.spans] == ["inner"]


def test_an_instrumentation_around_metavox_counts_nothing():
    kept = Kept()
    provider = provider_of(ContributionProcessor(kept))
    outer = provider.get_tracer("other").start_span("chat", attributes=LOCAL)
    with trace.use_span(outer):
        provider.get_tracer("metavox").start_span("chat", attributes=dict(ATTRIBUTES)).end()
    outer.end()

    assert kept.spans == []


def test_two_instrumentations_beside_one_another_count_a_request_once():
    assert len(counted(("one", LOCAL), ("another", LOCAL), ("one", LOCAL))) == 2


def test_an_engine_that_metavox_instruments_itself_is_not_counted_from_others_spans():
    patch_once("vllm", lambda: lambda: None)
    try:
        assert counted(("other", LOCAL)) == []
    finally:
        remove("vllm")
    assert len(counted(("other", LOCAL))) == 1


def test_a_span_whose_status_is_an_error_is_a_failed_request():
    kept = Kept()
    span = provider_of(ContributionProcessor(kept)).get_tracer("other").start_span("chat", attributes=LOCAL)
    span.set_status(trace.StatusCode.ERROR, "a secret")
    span.end()

    (failed,) = kept.spans
    assert failed.attributes["error.type"] == "_OTHER"
    assert "a secret" not in str(failed)


def test_flush_and_shutdown_write_what_waits():
    kept = Kept()
    processor = ContributionProcessor(kept)

    assert processor.force_flush()
    processor.shutdown()
    assert kept.flushed == 2


def test_the_users_spans_stay_as_they_are(home: Home):
    agree(home)
    seen: list[Any] = []

    class Seeing(ContributionProcessor):
        def on_end(self, span: Any) -> None:
            before = span.to_json()
            super().on_end(span)
            seen.append(before == span.to_json())

    provider: TracerProvider = provider_of(Seeing(contribution_to(home)))
    provider.get_tracer("other").start_span("chat", attributes=LOCAL, start_time=START).end(START + 10**9)

    assert seen == [True]
