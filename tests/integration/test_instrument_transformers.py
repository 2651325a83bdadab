"""transformers as it is installed, instrumented: every way to generate is told truly and works as before."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from metavox.telemetry.contribution import Contribution
from metavox.telemetry.instrument import instrument, uninstrument
from metavox.telemetry.instrument.transformers import Clock
from metavox.telemetry.instrument.transformers_answer import peak_memory, read_answer
from metavox.telemetry.instrument.transformers_model import describe, number_format
from metavox_privacy.anonymize import anonymize
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.telemetry.kept import Kept, only
from tests.unit.sdk.telemetry.shared import agree, home_in

TTFT = "gen_ai.server.time_to_first_token"
TPOT = "gen_ai.server.time_per_output_token"
DURATION = "gen_ai.server.request.duration"
LENGTH = 9
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generation_config.eos_token_id = None
    return model


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.randint(3, 250, (1, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    instrument("transformers", contribution=kept)
    yield kept
    uninstrument("transformers")


def generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    return model.generate(*args, **{"max_new_tokens": LENGTH, "do_sample": False, **kwargs})


def test_a_request_has_its_lengths_and_times(kept: Kept, model: Any, ids: torch.Tensor):
    before = time.perf_counter()
    generate(model, ids)
    took = time.perf_counter() - before

    told = only(kept)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, LENGTH)
    assert 0 < told[TTFT] < told[DURATION] < took
    assert told[TTFT] + (LENGTH - 1) * told[TPOT] == pytest.approx(told[DURATION])
    assert told["metavox.output_tokens_per_second"] == pytest.approx(1 / told[TPOT])
    assert (told["gen_ai.request.stream"], told["metavox.request.concurrency"]) == (False, 1)
    assert told["gen_ai.response.finish_reasons"] == ("length",)


def test_after_a_yes_a_request_is_in_the_journal_in_public_words_alone(
    model: Any, ids: torch.Tensor, tmp_path: Path
):
    home = home_in(tmp_path)
    agree(home, since=datetime.now(timezone.utc) - timedelta(minutes=1))
    contribution = Contribution.from_environment({}, home)
    instrument("transformers", contribution=contribution)
    try:
        generate(model, ids)
        contribution.flush()
    finally:
        uninstrument("transformers")

    with closing(sqlite3.connect(home.journal_file)) as journal:
        text = "\n".join(journal.iterdump())
    assert "transformers" in text
    assert str(model.config._name_or_path) not in text


def test_the_first_tokens_time_holds_the_prompts_work_and_no_more(kept: Kept, model: Any, ids: torch.Tensor):
    slow, calls = model.forward, []

    def forward(*args: Any, **kwargs: Any) -> Any:
        calls.append(time.sleep(0.5 if not calls else 0.02))
        return slow(*args, **kwargs)

    model.forward = forward
    try:
        generate(model, ids)
    finally:
        del model.forward

    told = only(kept)
    assert 0.5 < told[TTFT] < 0.9
    assert 0.02 < told[TPOT] < 0.07  # with the prompt's work in it, it would be more than 0.08


def test_the_model_is_described_by_its_configuration(kept: Kept, model: Any, ids: torch.Tensor, folder: Path):
    generate(model, ids)

    told = only(kept)
    assert told["gen_ai.request.model"] == str(folder)
    assert told["metavox.model.architecture"] == "Qwen3ForCausalLM"
    assert told["metavox.model.parameters"] == sum(each.numel() for each in model.parameters())
    assert (told["metavox.model.quantization"], told["metavox.engine.name"]) == ("float32", "transformers")
    record = anonymize(kept.spans[0], SCHEMA)
    assert record is not None
    assert record.cell[SCHEMA.position["model"]] == "other"
    assert record.cell[SCHEMA.position["accelerator"]].startswith("CPU")
    assert record.cell[SCHEMA.position["engine_version"]] != "unknown"


def test_a_model_that_is_cast_is_described_anew(folder: Path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert describe(model).number_format == "float32"
    assert describe(model.to(torch.bfloat16)).number_format == "bfloat16"


def test_every_prompt_of_a_batch_is_a_request_of_its_own_length(kept: Kept, model: Any):
    ids = torch.tensor([[0, 0, 0, 5, 6], [4, 5, 6, 7, 8]])
    generate(model, ids, attention_mask=(ids != 0).long())

    assert [span.attributes["gen_ai.usage.input_tokens"] for span in kept.spans] == [2, 5]
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in kept.spans] == [LENGTH, LENGTH]
    assert {span.attributes["metavox.request.concurrency"] for span in kept.spans} == {2}


def test_a_padded_batch_without_a_mask_has_no_known_prompt_lengths(kept: Kept, model: Any):
    generate(model, torch.tensor([[0, 0, 0, 5, 6], [4, 5, 6, 7, 8]]))

    assert len(kept.spans) == 2
    assert not any("gen_ai.usage.input_tokens" in span.attributes for span in kept.spans)


def test_several_answers_to_a_prompt_are_one_request(kept: Kept, model: Any, ids: torch.Tensor):
    generate(model, ids.repeat(2, 1), num_return_sequences=3, do_sample=True)

    assert [span.attributes["gen_ai.usage.output_tokens"] for span in kept.spans] == [3 * LENGTH, 3 * LENGTH]
    assert {span.attributes["gen_ai.request.choice.count"] for span in kept.spans} == {3}
    assert {span.attributes["metavox.request.concurrency"] for span in kept.spans} == {6}


def test_an_answer_ends_with_its_end_token_and_what_fills_it_up_is_not_counted(kept: Kept, model: Any):
    prompts = torch.randint(3, 250, (2, 7), generator=torch.Generator().manual_seed(3))
    free = generate(model, prompts)
    end = int(free[0, 9])  # the third token of the first answer
    kept.spans.clear()
    result = generate(model, prompts, eos_token_id=end, pad_token_id=0)

    told = [span.attributes for span in kept.spans]
    first = result[0, 7:].tolist().index(end) + 1
    assert told[0]["gen_ai.usage.output_tokens"] == first <= 3
    assert told[0]["gen_ai.response.finish_reasons"] == ("stop",)
    assert told[1]["gen_ai.usage.output_tokens"] > first


def test_beam_search_has_no_first_token_before_its_end(kept: Kept, model: Any, ids: torch.Tensor):
    generate(model, ids, num_beams=3)

    told = only(kept)
    assert told["gen_ai.usage.output_tokens"] == LENGTH
    assert DURATION in told
    assert not {TTFT, TPOT, "metavox.request.concurrency"} & set(told)


@pytest.mark.parametrize("how", ["assistant_model", "prompt_lookup_num_tokens"])
def test_assisted_decoding_is_one_request_though_the_assistant_generates(
    kept: Kept, model: Any, ids: torch.Tensor, how: str
):
    generate(model, ids, **{how: model if how == "assistant_model" else 3})

    told = only(kept)
    assert told["gen_ai.usage.output_tokens"] == LENGTH
    assert 0 < told[TTFT] < told[DURATION]
    assert 0 < told[TPOT] < told[DURATION]


def test_a_single_token_has_a_first_and_nothing_after_it(kept: Kept, model: Any, ids: torch.Tensor):
    generate(model, ids, max_new_tokens=1)

    told = only(kept)
    assert told["gen_ai.usage.output_tokens"] == 1
    assert 0 < told[TTFT] <= told[DURATION]
    assert TPOT not in told


def test_embeddings_as_the_prompt_are_counted_as_its_tokens(kept: Kept, model: Any, ids: torch.Tensor):
    generate(model, inputs_embeds=model.get_input_embeddings()(ids))

    told = only(kept)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, LENGTH)


def test_an_output_object_is_read_like_a_tensor(kept: Kept, model: Any, ids: torch.Tensor):
    generate(model, ids, return_dict_in_generate=True, output_scores=True)

    assert only(kept)["gen_ai.usage.output_tokens"] == LENGTH


def test_an_encoder_decoder_answers_after_its_start_token(kept: Kept):
    from transformers import T5Config, T5ForConditionalGeneration

    shape = {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0))
    model.generation_config.eos_token_id = None
    generate(model, torch.randint(3, 60, (1, 11)))

    told = only(kept)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (11, LENGTH)
    assert told["gen_ai.request.model"] == "./unnamed"


def test_what_answers_with_sound_makes_no_requests(
    kept: Kept, model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(type(model), "output_modalities", ("audio",))
    generate(model, ids)

    assert kept.spans == []


def test_what_listens_makes_no_requests(kept: Kept):
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "max_source_positions": 50,
        "vocab_size": 64,
    }
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    tokens = {"begin_suppress_tokens": None, "suppress_tokens": None}
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **heads, **ends, **tokens))
    model.generate(torch.zeros(1, 80, 100), max_new_tokens=2)

    assert kept.spans == []


def test_a_streamer_gets_every_token_as_before_and_the_request_says_that_it_streamed(
    kept: Kept, model: Any, ids: torch.Tensor
):
    class Streamer:
        def __init__(self) -> None:
            self.got: list[int] = []
            self.has_ended = False

        def put(self, value: torch.Tensor) -> None:
            self.got += value.flatten().tolist()

        def end(self) -> None:
            self.has_ended = True

    streamer = Streamer()
    result = generate(model, ids, streamer=streamer)

    assert streamer.got == result[0].tolist()
    assert streamer.has_ended
    assert only(kept)["gen_ai.request.stream"] is True


def test_what_comes_out_is_what_comes_out_without_us(kept: Kept, model: Any, ids: torch.Tensor):
    from transformers import StoppingCriteriaList

    instrumented, seen = [], []

    def stop(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        seen.append(input_ids.shape)
        return torch.full((input_ids.shape[0],), input_ids.shape[1] >= 12)

    criteria = StoppingCriteriaList([stop])
    for settings in ({}, {"do_sample": True}, {"num_beams": 2}, {"stopping_criteria": criteria}):
        torch.manual_seed(7)
        instrumented.append(generate(model, ids, **settings))
    calls = len(seen)
    uninstrument("transformers")
    for settings, expected in zip(
        ({}, {"do_sample": True}, {"num_beams": 2}, {"stopping_criteria": criteria}), instrumented, strict=True
    ):
        torch.manual_seed(7)
        assert torch.equal(generate(model, ids, **settings), expected)
    assert len(criteria) == 1
    assert len(seen) == 2 * calls


def test_arguments_by_position_stay_where_they_were(kept: Kept, model: Any, ids: torch.Tensor):
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    config = GenerationConfig(max_new_tokens=4, do_sample=False)
    result = model.generate(ids, config, LogitsProcessorList(), StoppingCriteriaList())

    assert result.shape == (1, 11)
    assert only(kept)["gen_ai.usage.output_tokens"] == 4


def test_the_signature_and_the_documentation_stay(kept: Kept, model: Any):
    ours = inspect.signature(type(model).generate)
    documentation = type(model).generate.__doc__
    uninstrument("transformers")

    assert ours == inspect.signature(type(model).generate)
    assert documentation == type(model).generate.__doc__


def test_an_error_of_the_model_reaches_the_caller_and_is_told_by_its_class(
    kept: Kept, model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(RuntimeError, match="a secret"):
        generate(model, ids.repeat(2, 1))

    assert [span.attributes["error.type"] for span in kept.spans] == ["RuntimeError"] * 2
    assert "a secret" not in str(kept.spans)


@pytest.mark.parametrize("wrong", [{"max_new_tokens": -4}, {"nonsense": 3}])
def test_arguments_that_transformers_refuses_are_no_request(
    kept: Kept, model: Any, ids: torch.Tensor, wrong: dict[str, Any]
):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generate(model, ids, **wrong)

    assert kept.spans == []


def test_an_argument_given_twice_is_refused_as_before(kept: Kept, model: Any, ids: torch.Tensor):
    with pytest.raises(TypeError, match="multiple values"):
        model.generate(ids, inputs=ids, max_new_tokens=2)

    assert kept.spans == []


def test_what_a_failed_call_held_is_free_when_its_error_is(
    kept: Kept, model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    """Programs catch an error of memory and try again with less; what the call held must be free by then."""
    held: list[Any] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        raise RuntimeError

    monkeypatch.setattr(model, "forward", broken)
    gc.disable()
    try:
        with contextlib.suppress(RuntimeError):
            generate(model, ids)
        assert held[0]() is None
    finally:
        gc.enable()
    assert len(kept.spans) == 1


class StopsFirstRow:
    """A criterion of the caller's."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.tensor([row == 0 and input_ids.shape[1] >= 9 for row in range(input_ids.shape[0])])


def test_of_rows_that_the_caller_stops_the_filling_is_not_counted(kept: Kept, model: Any, ids: torch.Tensor):
    from transformers import StoppingCriteriaList

    ends = {"eos_token_id": 255, "pad_token_id": 0, "stopping_criteria": StoppingCriteriaList([StopsFirstRow()])}
    generate(model, ids.repeat(2, 1), suppress_tokens=[255], **ends)

    for span in kept.spans:
        assert "gen_ai.usage.output_tokens" not in span.attributes
        assert "gen_ai.response.finish_reasons" not in span.attributes
        assert 0 < span.attributes[TPOT] < span.attributes[DURATION]
    assert len(kept.spans) == 2


def test_an_answer_that_the_caller_stops_has_its_length_and_no_reason(kept: Kept, model: Any, ids: torch.Tensor):
    from transformers import StoppingCriteriaList

    generate(model, ids, stopping_criteria=StoppingCriteriaList([StopsFirstRow()]))

    assert only(kept)["gen_ai.usage.output_tokens"] == 2
    assert "gen_ai.response.finish_reasons" not in only(kept)


def test_a_compiler_that_traces_a_whole_call_does_not_trace_us(
    kept: Kept, model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    uninstrument("transformers")
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: True)
    instrument("transformers", contribution=kept)
    generate(model, ids)

    assert kept.spans == []


def test_a_device_is_waited_for_before_the_first_tokens_time(monkeypatch: pytest.MonkeyPatch):
    """Of a device that works beside the processor, the moment at which a step was asked for says nothing."""
    waited: list[str] = []
    stream = SimpleNamespace(synchronize=lambda: waited.append("stream"))
    streams = SimpleNamespace(current_stream=lambda device: stream)
    whole = SimpleNamespace(synchronize=lambda: waited.append("device"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: {"cuda": streams, "mps": whole}[device.type])
    for device in ("cpu", "cuda", "mps"):
        step = SimpleNamespace(device=torch.device(device), shape=(1, 8), new_zeros=torch.zeros)
        Clock()(step, None)

    assert waited == ["stream", "device"]


@pytest.mark.parametrize(("before", "after", "told"), [(5, 9, 9), (9, 9, None)])
def test_a_peak_of_memory_is_a_requests_only_if_it_was_raised_by_it(
    before: int, after: int, told: int | None, monkeypatch: pytest.MonkeyPatch
):
    on_cuda = SimpleNamespace(device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: after)

    (answer,) = read_answer(on_cuda, torch.zeros(1, 4), (), 1, 1, peak_before=before)
    assert answer.memory_bytes == told


@pytest.mark.parametrize(
    ("placed", "asked"),
    [
        ({"a": 0, "b": 1}, ["cuda:0", "cuda:1"]),
        ({"a": 0, "b": 0}, "cuda:0"),
        ({"a": 0, "b": "cpu"}, ["cpu", "cuda:0"]),
        ({"a": 0, "b": "disk"}, None),
        ({"a": "meta"}, None),
        (None, "cpu"),
    ],
)
def test_a_models_hardware_is_all_that_it_is_spread_over_and_nobodys_when_part_of_it_waits_elsewhere(
    placed: Any, asked: Any, model: Any, monkeypatch: pytest.MonkeyPatch
):
    found: list[Any] = []
    monkeypatch.setattr("metavox.telemetry.instrument.transformers_model.detect", found.append)
    monkeypatch.setattr(model, "hf_device_map", placed, raising=False)
    monkeypatch.setattr("metavox.telemetry.instrument.transformers_model._known", weakref.WeakKeyDictionary())
    describe(model)

    assert found == ([asked] if asked else [])


def test_the_memory_of_one_of_several_devices_is_no_models(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 9)
    spread = SimpleNamespace(device=torch.device("cuda"), hf_device_map={"a": 0, "b": 1})

    assert peak_memory(spread) is None


def test_a_recipe_of_somebody_elses_gets_no_criterion_of_ours(kept: Kept, model: Any, ids: torch.Tensor):
    def recipe(model: Any, input_ids: torch.Tensor, stopping_criteria: Any, **kwargs: Any) -> torch.Tensor:
        assert not any("metavox" in type(each).__module__ for each in stopping_criteria)
        return torch.cat([input_ids, input_ids[:, :2]], dim=1)

    generate(model, ids, custom_generate=recipe)

    told = only(kept)
    assert told["gen_ai.usage.output_tokens"] == 2
    assert not {TTFT, TPOT} & set(told)


def test_a_model_that_cannot_be_described_answers_all_the_same(
    kept: Kept, model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("metavox.telemetry.instrument.transformers._call", lambda *_: 1 / 0)
    assert generate(model, ids).shape == (1, 7 + LENGTH)
    monkeypatch.undo()
    monkeypatch.setattr("metavox.telemetry.instrument.transformers.describe", lambda *_: 1 / 0)
    assert generate(model, ids).shape == (1, 7 + LENGTH)
    assert kept.spans == []


def test_while_nobody_wants_to_know_nothing_is_added(
    kept: Kept, model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    kept.on = False
    monkeypatch.setattr("metavox.telemetry.instrument.transformers.Clock", lambda: pytest.fail("it was measured"))

    assert generate(model, ids).shape == (1, 7 + LENGTH)
    assert kept.spans == []


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        (None, "bfloat16"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "fp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "hqq"}, "hqq"),
    ],
)
def test_a_quantization_is_told_in_the_schemas_words(quantization: Any, expected: str):
    assert number_format(quantization, "torch.bfloat16") == expected


def test_the_library_s_own_quantization_object_is_understood():
    from transformers import BitsAndBytesConfig

    assert number_format(BitsAndBytesConfig(load_in_4bit=True), "torch.float16") == "int4"
    assert number_format(BitsAndBytesConfig(load_in_8bit=True), "torch.float16") == "int8"


def test_opentelemetry_instrument_tells_of_a_program_that_knows_nothing_of_metavox(folder: Path, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import sys
            from opentelemetry import trace
            from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

            class Printing(SpanProcessor):
                def on_end(self, span):
                    print("told", span.name, span.attributes["gen_ai.server.time_to_first_token"] > 0)

            assert "transformers" not in sys.modules
            provider = TracerProvider()
            provider.add_span_processor(Printing())
            trace.set_tracer_provider(provider)
            import torch, transformers
            model = transformers.AutoModelForCausalLM.from_pretrained({str(folder)!r})
            model.generate(torch.tensor([[3, 4, 5]]), max_new_tokens=4, do_sample=False)
            """
        )
    )
    instrument_command = Path(sys.executable).with_name("opentelemetry-instrument")
    done = subprocess.run(
        [str(instrument_command), sys.executable, str(program)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"told text_completion {folder} True\n"
    assert "metavox" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program.py"]
