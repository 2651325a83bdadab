"""vLLM's offline API, by a fake of its shape: it was never run on a real one here."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from types import ModuleType
from typing import Any

import pytest

import metavox
from metavox.telemetry.instrument import uninstrument
from metavox.telemetry.instrument.vllm_model import describe
from tests.unit.sdk.telemetry.instrument.fake_vllm import (
    LLM,
    Offline,
    RequestMetrics,
    RequestStateStats,
    SamplingParams,
)
from tests.unit.sdk.telemetry.kept import Kept, only

STATS = RequestStateStats(5, 1_795_168_800.25, 100.0, 100.01, 100.2, 100.6, 0.25)
OLD = RequestMetrics(1_795_168_800.25, 1_795_168_800.9, 1_795_168_800.3, 1_795_168_800.5, 0.05, 1_795_168_801.0)
CHAT = [{"role": "user", "content": "a secret"}]


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch, kept: Kept) -> None:
    module = ModuleType("vllm")
    module.LLM = LLM
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.llm", module)
    metavox.telemetry.instrument.instrument("vllm", contribution=kept)


def test_a_request_says_what_vllm_measured(kept: Kept):
    LLM(metrics=STATS).generate("a secret", SamplingParams(temperature=0.5, max_tokens=5))

    told = only(kept)
    assert told["gen_ai.server.time_to_first_token"] == 0.25
    assert told["gen_ai.server.time_per_output_token"] == pytest.approx(0.1)
    assert told["gen_ai.server.request.duration"] == pytest.approx(0.65)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (3, 5)
    assert (told["gen_ai.request.temperature"], told["gen_ai.request.max_tokens"]) == (0.5, 5)
    assert told["metavox.request.concurrency"] == 1
    assert kept.spans[0].start_time == round(STATS.arrival_time * 1e9)
    assert "a secret" not in str(told)


def test_the_older_engines_times_are_understood(kept: Kept):
    LLM(metrics=OLD).generate("prompt")

    told = only(kept)
    assert told["gen_ai.server.time_to_first_token"] == pytest.approx(0.25)
    assert told["gen_ai.server.time_per_output_token"] == pytest.approx(0.1)
    assert told["gen_ai.server.request.duration"] == pytest.approx(0.75)


def test_without_vllms_times_a_single_prompt_has_its_duration_alone(kept: Kept):
    LLM().generate("prompt")

    told = only(kept)
    assert told["gen_ai.server.request.duration"] >= 0.01
    assert "gen_ai.server.time_to_first_token" not in told


def test_without_vllms_times_several_prompts_have_none(kept: Kept):
    LLM().generate(["one", "two"])

    assert len(kept.spans) == 2
    assert not any("gen_ai.server.request.duration" in span.attributes for span in kept.spans)
    assert not any("metavox.request.concurrency" in span.attributes for span in kept.spans)


def test_several_answers_to_a_prompt_are_one_request_without_a_time_between_tokens(kept: Kept):
    LLM(metrics=STATS).generate("prompt", SamplingParams(n=3))

    told = only(kept)
    assert told["gen_ai.usage.output_tokens"] == 15
    assert "gen_ai.server.time_per_output_token" not in told


def test_each_prompt_may_have_its_own_parameters(kept: Kept):
    LLM().generate(["one", "two"], [SamplingParams(seed=1), SamplingParams(seed=2)])

    assert [span.attributes["gen_ai.request.seed"] for span in kept.spans] == [1, 2]


def test_a_chat_is_one_request_though_it_calls_generate(kept: Kept):
    LLM(metrics=STATS).chat(CHAT)

    assert only(kept)["gen_ai.operation.name"] == "chat"


@pytest.mark.parametrize(("messages", "number"), [(CHAT, 1), (CHAT * 3, 1), ([CHAT, CHAT], 2)])
def test_an_error_is_as_many_failed_requests_as_there_were(kept: Kept, messages: Any, number: int):
    with pytest.raises(RuntimeError, match="a secret"):
        LLM(error=RuntimeError("a secret")).chat(messages)

    assert [span.attributes["error.type"] for span in kept.spans] == ["RuntimeError"] * number
    assert "a secret" not in str(kept.spans)


@pytest.mark.parametrize(("prompts", "number"), [("one", 1), ([1, 2, 3], 1), (["one", "two"], 2), ([[1], [2]], 2)])
def test_a_prompt_of_token_ids_is_one_request(kept: Kept, prompts: Any, number: int):
    with pytest.raises(MemoryError):
        LLM(error=MemoryError()).generate(prompts)

    assert len(kept.spans) == number


def test_what_a_failed_call_held_is_free_when_its_error_is(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    class Held:
        """What the engine had, such as a tensor."""

    held: list[Any] = []

    def broken(*args: Any) -> None:
        tensor = Held()
        held.append(weakref.ref(tensor))
        raise RuntimeError

    monkeypatch.setattr(LLM, "_run", broken)
    gc.disable()
    try:
        with contextlib.suppress(RuntimeError):
            LLM().generate("prompt")
        assert held[0]() is None
    finally:
        gc.enable()
    assert len(kept.spans) == 1


def test_what_vllm_gives_back_is_what_the_caller_gets(kept: Kept):
    llm, params = LLM(metrics=STATS), SamplingParams()
    uninstrumented = Offline.generate.__wrapped__(llm, ["one", "two"], params)

    assert llm.generate(["one", "two"], params, use_tqdm=False) == uninstrumented
    assert all(seen is params for seen in llm.seen)


@pytest.mark.parametrize("metrics", [object(), RequestStateStats(), {"first_token_latency": 1}])
def test_times_that_are_not_understood_cost_the_caller_nothing(kept: Kept, metrics: Any):
    assert len(LLM(metrics=metrics).generate("prompt")) == 1


def test_while_nobody_wants_to_know_the_engine_is_called_as_it_was(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    kept.on = False
    monkeypatch.setattr("metavox.telemetry.instrument.vllm.describe", lambda llm: pytest.fail("it was looked at"))

    assert len(LLM().generate("prompt")) == 1
    assert kept.spans == []


def test_uninstrumented_it_tells_nothing(kept: Kept):
    uninstrument("vllm")
    LLM().generate("prompt")

    assert kept.spans == []
    assert not hasattr(Offline.generate, "__wrapped__")


@pytest.mark.parametrize(
    ("settings", "number_format"),
    [
        ({}, "bfloat16"),
        ({"quantization": "awq_marlin"}, "awq"),
        ({"quantization": "fp8"}, "fp8"),
        ({"quantization": "something"}, "something"),
    ],
)
def test_a_model_is_described_by_its_configuration(settings: dict[str, Any], number_format: str):
    model = describe(LLM(**settings))

    assert (model.name, model.architecture, model.num_parameters) == ("Qwen/Qwen3-8B", "Qwen3ForCausalLM", None)
    assert model.number_format == number_format


def test_a_local_folder_is_no_hub_id(tmp_path: Any):
    assert describe(LLM(model=str(tmp_path))).name == str(tmp_path)


@pytest.mark.parametrize(("device_type", "model"), [("tpu", None), ("cpu", True)])
def test_a_device_that_is_not_known_is_not_described(device_type: str, model: object):
    assert (describe(LLM(device_type=device_type)).hardware.model is not None) is bool(model)


def test_every_device_that_shares_the_work_is_counted():
    assert describe(LLM(device_type="cuda", world_size=4)).hardware.count in (1, 4)  # 1 where there is none
