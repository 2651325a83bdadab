"""A request of another engine becomes a span in the words of MetaVox's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from metavox.telemetry.instrument.described import (
    Asked,
    Measured,
    Model,
    failed_span,
    finished_span,
    hub_name,
    local_name,
)
from metavox_privacy.anonymize import anonymize
from metavox_privacy.schema import SCHEMA
from tests.spans import START
from tests.unit.sdk.telemetry.shared import CPU

MODEL = Model("Qwen/Qwen3-8B", "Qwen3ForCausalLM", 8_200_000_000, "bfloat16", CPU)
ASKED = Asked("chat", START, is_streamed=True, settings={"gen_ai.request.top_p": 0.9}, input_tokens=30)
MEASURED = Measured(START + 10**9, 1.0, 101, 0.2, 0.008, ("stop",), 4, 2**30)


def test_a_finished_request_says_everything_that_the_schema_reads():
    span = finished_span("vllm", "0.33.0", MODEL, ASKED, MEASURED)
    record = anonymize(span, SCHEMA)

    assert record is not None
    told = dict(zip((dimension.name for dimension in SCHEMA.dimensions), record.cell, strict=True))
    assert told["model"] == "Qwen/Qwen3-8B"
    assert (told["engine"], told["engine_version"], told["streaming"]) == ("vllm", "0.33", "true")
    assert (told["parameters"], told["input_tokens"], told["output_tokens"]) == ("8-16B", "17-64", "65-256")
    assert set(record.buckets) == set(SCHEMA.metric)


def test_its_name_and_kind_of_span_are_the_conventions():
    span = finished_span("vllm", None, MODEL, ASKED, MEASURED)

    assert span.name == "chat Qwen/Qwen3-8B"
    assert span.attributes["gen_ai.provider.name"] == "vllm"
    assert span.attributes["metavox.output_tokens_per_second"] == pytest.approx(125)
    assert span.attributes["gen_ai.request.top_p"] == 0.9


def test_what_could_not_be_measured_is_not_told():
    span = finished_span("vllm", None, Model("m", None, None, None, CPU), Asked("chat", START), Measured(START))

    assert None not in span.attributes.values()
    assert not {name for name in span.attributes if name.startswith(("gen_ai.server", "gen_ai.usage"))}


def test_a_failed_request_tells_the_errors_class_and_nothing_of_its_words():
    span = failed_span("vllm", None, MODEL, ASKED, RuntimeError("a secret"), START + 5)

    assert span.attributes["error.type"] == "RuntimeError"
    assert "a secret" not in str(span)
    assert "gen_ai.usage.output_tokens" not in span.attributes


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "gpt2"])
def test_a_hub_id_is_its_own_name(name: str):
    assert hub_name(name) == name


@pytest.mark.parametrize("name", ["a/b/c", "/home/me/model", "models\\mine", "org/"])
def test_a_path_does_not_look_like_a_hub_id(name: str):
    assert hub_name(name) == local_name(name)
    assert local_name(name).startswith((".", "/"))


def test_a_folder_that_is_called_like_a_public_model_is_no_public_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "Qwen" / "Qwen3-8B").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert hub_name("Qwen/Qwen3-8B") == "./Qwen/Qwen3-8B"
    assert SCHEMA.dimension["model"].kind.classify(hub_name("Qwen/Qwen3-8B")) == "other"
