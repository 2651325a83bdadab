from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox.params import SamplingParams
from metavox.telemetry import spans
from metavox.telemetry.spans import emit, failed_span, is_traced, model_name, request_span
from metavox_privacy.anonymize import anonymize
from metavox_privacy.schema import SCHEMA
from tests.spans import START
from tests.unit.sdk.telemetry.shared import CPU, GPU, INFO, example_output, local_info

PARAMS = SamplingParams(temperature=0.5, top_p=0.9, top_k=40, max_tokens=32, seed=7, stop=["\n"])


def test_a_failed_stream_was_a_stream_too():
    span = failed_span(ValueError(), INFO, PARAMS, CPU, start_time=START, end_time=START + 1, is_streamed=True)
    assert span.attributes["gen_ai.request.stream"] is True


def test_a_span_is_in_the_genai_conventions():
    span = request_span(example_output(), INFO, PARAMS, GPU)

    assert span.name == "text_completion metavox/tiny"
    assert (span.start_time, span.end_time) == (START, START + 500_000_000)
    assert span.attributes == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "metavox",
        "gen_ai.request.model": "metavox/tiny",
        "gen_ai.request.max_tokens": 32,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("\n",),
        "gen_ai.request.stream": False,
        "gen_ai.response.model": "metavox/tiny",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.server.time_to_first_token": pytest.approx(0.1),
        "gen_ai.server.time_per_output_token": pytest.approx(0.2),
        "gen_ai.server.request.duration": pytest.approx(0.5),
        "metavox.output_tokens_per_second": pytest.approx(5.0),
        "metavox.device.memory.peak": 2**27,
        "metavox.request.concurrency": 4,
        "metavox.engine.name": "metavox",
        "metavox.engine.version": "0.1.0",
        "metavox.model.architecture": "Qwen3ForCausalLM",
        "metavox.model.parameters": 3_476_224,
        "metavox.model.quantization": "bfloat16",
        "hw.model": "NVIDIA H100 80GB HBM3",
        "hw.vendor": "nvidia",
        "metavox.hw.count": 1,
        "metavox.hw.memory.size": 80 * 2**30,
        "hw.driver_version": "535.129.03",
        "os.type": "linux",
        "host.arch": "amd64",
    }


def test_a_conversation_is_a_chat_whether_it_went_well_or_not():
    output = example_output()
    chat = replace(output, metrics=replace(output.metrics, is_chat=True))
    failed = failed_span(ValueError(), INFO, PARAMS, CPU, start_time=START, end_time=START + 1, is_chat=True)

    for span in (request_span(chat, INFO, PARAMS, CPU), failed):
        assert span.name == "chat metavox/tiny"
        assert span.attributes["gen_ai.operation.name"] == "chat"


def test_what_is_the_same_of_all_requests_changes_with_engine_and_device():
    made = [
        request_span(example_output(), info, PARAMS, device)
        for info in (INFO, local_info("/home/anna/model"), INFO)
        for device in (CPU, GPU)
    ]

    models = [span.attributes["gen_ai.request.model"] for span in made]
    assert models == [span.attributes["gen_ai.response.model"] for span in made]
    assert models == ["metavox/tiny"] * 2 + ["/home/anna/model"] * 2 + ["metavox/tiny"] * 2
    assert [span.attributes["hw.model"] for span in made] == [CPU.model, GPU.model] * 3


def test_what_is_not_known_is_not_said():
    span = request_span(example_output(tokens=1), INFO, SamplingParams(), CPU)

    assert "gen_ai.server.time_per_output_token" not in span.attributes
    assert "metavox.output_tokens_per_second" not in span.attributes
    assert not {"gen_ai.request.seed", "gen_ai.request.top_k", "gen_ai.request.stop_sequences"} & set(
        span.attributes
    )
    assert not {"hw.vendor", "hw.driver_version", "metavox.hw.memory.size"} & set(span.attributes)


def test_the_schema_finds_every_field_of_a_gpu_request():
    record = anonymize(request_span(example_output(), INFO, PARAMS, GPU), SCHEMA)

    assert record is not None
    assert not {"unknown", "other"} & set(record.cell), record.cell
    assert set(record.buckets) == {metric.name for metric in SCHEMA.metrics}


words = st.text(min_size=1, max_size=40).map(lambda text: f"\N{SECTION SIGN}{text}")


@given(prompt=words, text=words)
def test_no_prompt_and_no_answer_is_ever_in_a_span(prompt: str, text: str):
    span = request_span(example_output(prompt=prompt, text=text), INFO, SamplingParams(), GPU)

    strings = [span.name, *span.attributes, *map(str, span.attributes.values())]
    assert not any(prompt in string or text in string for string in strings)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/anna/secret-model", "/home/anna/secret-model"),
        ("./models/a", "./models/a"),
        ("~/a", "~/a"),
        ("Qwen/Qwen3-0.6B", "./Qwen/Qwen3-0.6B"),
    ],
)
def test_a_local_folder_is_never_taken_for_a_hub_id(path: str, name: str):
    info = local_info(path)
    record = anonymize(request_span(example_output(), info, PARAMS, CPU), SCHEMA)

    assert model_name(info) == name
    assert record is not None
    assert record.cell[SCHEMA.position["model"]] == "other"


def test_a_failed_request_tells_the_errors_type_and_never_its_message():
    error = RuntimeError("/home/anna could not be read")
    span = failed_span(error, INFO, PARAMS, CPU, start_time=START, end_time=START + 1, input_tokens=9)
    record = anonymize(span, SCHEMA)

    assert span.attributes["error.type"] == "RuntimeError"
    assert span.attributes["gen_ai.usage.input_tokens"] == 9
    assert "anna" not in repr(span)
    assert record is not None
    assert record.buckets == {"error_rate": 1}


def test_the_users_provider_gets_the_span_as_a_child_of_the_current_one(exporter: InMemorySpanExporter):
    span = request_span(example_output(), INFO, PARAMS, CPU)
    with trace.get_tracer("the user's").start_as_current_span("outer") as outer:
        emit(span)
    emitted = exporter.get_finished_spans()[0]

    assert emitted.name == span.name
    assert (emitted.start_time, emitted.end_time) == (span.start_time, span.end_time)
    assert emitted.kind is trace.SpanKind.INTERNAL
    assert emitted.attributes == span.attributes
    assert emitted.parent is not None
    assert emitted.parent.span_id == outer.get_span_context().span_id
    assert emitted.instrumentation_scope is not None
    assert (emitted.instrumentation_scope.name, emitted.instrumentation_scope.version) == ("metavox", "0.1.0")
    assert emitted.status.status_code is trace.StatusCode.UNSET


def test_the_users_provider_sees_a_failure_as_an_error(exporter: InMemorySpanExporter):
    emit(failed_span(MemoryError(), INFO, PARAMS, CPU, start_time=START, end_time=START + 1))

    assert exporter.get_finished_spans()[0].status.status_code is trace.StatusCode.ERROR


class TestIsTraced:
    """Whether anybody would get a span."""

    @pytest.fixture(autouse=True)
    def without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
        monkeypatch.delenv("OTEL_PYTHON_TRACER_PROVIDER", raising=False)
        monkeypatch.setattr(spans, "_named", (False, 0.0))

    def test_nobody_where_opentelemetry_is_not_loaded_and_it_stays_so(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")

        assert not is_traced()
        assert "opentelemetry.trace" not in sys.modules

    @pytest.mark.parametrize("provider", [None, trace.NoOpTracerProvider(), trace.ProxyTracerProvider()], ids=repr)
    def test_nobody_where_no_provider_does_anything(self, provider: object, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

        assert not is_traced()

    @pytest.mark.usefixtures("exporter")
    def test_whoever_has_set_a_provider(self):
        assert is_traced()

    @pytest.mark.parametrize("loaded", [True, False])
    def test_whoever_names_one_in_the_environment(self, loaded: bool, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "mine")
        if not loaded:
            monkeypatch.delitem(sys.modules, "opentelemetry.trace")

        assert is_traced()


def test_without_a_provider_nothing_happens():
    emit(request_span(example_output(), INFO, PARAMS, CPU))
