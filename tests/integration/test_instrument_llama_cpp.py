"""llama-cpp-python as it is installed, instrumented: every way to an answer is told truly and works as before."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metavox.telemetry.instrument import instrument, uninstrument
from metavox.telemetry.instrument.llama_cpp_model import describe, hardware, model_name
from metavox_privacy.anonymize import anonymize
from metavox_privacy.schema import SCHEMA
from tests.integration.tiny_gguf import write_gguf
from tests.unit.sdk.telemetry.kept import Kept, only

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is built by `make test`, with a C++ compiler")

TTFT = "gen_ai.server.time_to_first_token"
TPOT = "gen_ai.server.time_per_output_token"
DURATION = "gen_ai.server.request.duration"
TOKENS = "gen_ai.usage.output_tokens"
# Half a character goes on past max_tokens, and so would these random answers.
ASCII = {"logit_bias": dict.fromkeys((2, *range(3 + 128, 3 + 256)), -100.0)}
CHAT = [{"role": "user", "content": "a secret"}]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def llama(file: Path) -> Any:
    return llama_cpp.Llama(str(file), n_ctx=128, n_threads=1, n_threads_batch=1, verbose=False)


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    instrument("llama_cpp", contribution=kept)
    yield kept
    uninstrument("llama_cpp")


def test_a_completion_has_its_lengths_and_times(kept: Kept, llama: Any):
    before = time.perf_counter()
    result = llama("hello", max_tokens=8, seed=1, **ASCII)
    took = time.perf_counter() - before

    told = only(kept)
    assert told["gen_ai.usage.input_tokens"] == result["usage"]["prompt_tokens"]
    assert told[TOKENS] == result["usage"]["completion_tokens"] == 8
    assert 0 < told[TTFT] < told[DURATION] <= took
    assert told[TTFT] + 7 * told[TPOT] <= told[DURATION]
    assert (told["gen_ai.operation.name"], told["gen_ai.request.stream"]) == ("text_completion", False)
    assert told["gen_ai.response.finish_reasons"] == ("length",)
    assert (told["gen_ai.request.max_tokens"], told["gen_ai.request.seed"]) == (8, 1)


def test_the_model_is_described_by_its_file(kept: Kept, llama: Any, file: Path):
    llama("hello", max_tokens=2)

    told = only(kept)
    assert told["gen_ai.request.model"] == str(file)
    assert told["metavox.model.architecture"] == "LlamaForCausalLM"
    assert 30_000 < told["metavox.model.parameters"] < 50_000
    assert (told["metavox.model.quantization"], told["metavox.engine.name"]) == ("float32", "llama.cpp")
    record = anonymize(kept.spans[0], SCHEMA)
    assert record is not None
    assert record.cell[SCHEMA.position["model"]] == "other"
    assert record.cell[SCHEMA.position["engine"]] == "llama.cpp"
    assert record.cell[SCHEMA.position["engine_version"]] == "0.3"


def test_neither_prompts_nor_answers_are_told(kept: Kept, llama: Any):
    answer = llama("a secret", max_tokens=8, seed=1, stop=["another"])["choices"][0]["text"]

    assert "a secret" not in str(kept.spans)
    assert "another" not in str(kept.spans)
    assert answer not in str(only(kept).values())


def test_a_stream_is_told_when_it_has_ended(kept: Kept, llama: Any):
    chunks = llama.create_completion("hello", max_tokens=8, stream=True, seed=1, **ASCII)
    next(chunks)
    assert kept.spans == []
    list(chunks)

    told = only(kept)
    assert (told["gen_ai.request.stream"], told[TOKENS]) == (True, 8)
    assert 0 < told[TTFT] < told[DURATION]


def test_the_time_that_a_reader_takes_is_not_the_engines(kept: Kept, llama: Any):
    chunks = llama.create_completion("hello", max_tokens=4, stream=True, seed=1, **ASCII)
    time.sleep(0.2)  # nothing works before the first is asked for
    for _ in chunks:
        time.sleep(0.2)

    told = only(kept)
    assert told[DURATION] < 0.4
    assert told[TPOT] < 0.1
    assert (kept.spans[0].end_time - kept.spans[0].start_time) / 1e9 > 0.7


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_is_told_as_one(kept: Kept, llama: Any, stream: bool):
    answer = llama.create_chat_completion(CHAT, max_tokens=5, stream=stream, **ASCII)
    if stream:
        list(answer)

    told = only(kept)
    assert (told["gen_ai.operation.name"], told["gen_ai.request.stream"]) == ("chat", stream)
    assert told[TOKENS] == 5


def test_tokens_that_a_program_draws_itself_are_a_request_until_it_stops(kept: Kept, llama: Any):
    generator = llama.generate(llama.tokenize(b"hello"))
    for _ in range(4):
        next(generator)
    assert kept.spans == []
    generator.close()

    told = only(kept)
    assert (told[TOKENS], told["gen_ai.request.stream"]) == (4, True)
    assert told[TTFT] + 3 * told[TPOT] == pytest.approx(told[DURATION])


def test_what_is_sent_into_the_generator_arrives(kept: Kept, llama: Any, monkeypatch: pytest.MonkeyPatch):
    got: list[Any] = []

    def tokens(*args: Any, **kwargs: Any) -> Iterator[int]:
        while True:
            got.append((yield len(got)))

    uninstrument("llama_cpp")
    # llama.cpp itself aborts the process over several tokens at once, so a stand-in takes them.
    monkeypatch.setattr(llama_cpp.Llama, "generate", tokens)
    instrument("llama_cpp", contribution=kept)
    generator = llama.generate([1, 5, 6])

    assert [next(generator), generator.send([7, 8]), next(generator)] == [0, 1, 2]
    assert got == [[7, 8], None]


def test_a_stream_that_is_left_before_its_answer_ended_is_no_request(kept: Kept, llama: Any):
    chunks = llama.create_completion("hello", max_tokens=8, stream=True)
    next(chunks)
    chunks.close()

    assert kept.spans == []


def test_a_stream_that_is_left_at_its_last_chunk_is_one(kept: Kept, llama: Any):
    for chunk in (chunks := llama.create_completion("hello", max_tokens=3, stream=True, **ASCII)):
        if chunk["choices"][0]["finish_reason"]:
            break
    chunks.close()

    assert only(kept)["gen_ai.response.finish_reasons"] == ("length",)


def test_two_streams_that_take_turns_are_told_apart(kept: Kept, file: Path):
    one, two = (llama_cpp.Llama(str(file), n_ctx=64, n_threads=1, verbose=False) for _ in range(2))
    streams = [
        one.create_completion("hello", max_tokens=3, stream=True, **ASCII),
        two.create_completion("hello, you", max_tokens=3, stream=True, **ASCII),
    ]
    for _ in range(4):
        for stream in streams:
            next(stream, None)
    for stream in streams:
        list(stream)

    assert [span.attributes[TOKENS] for span in kept.spans] == [3, 3]
    assert len({span.attributes["gen_ai.usage.input_tokens"] for span in kept.spans}) == 2


def test_a_model_that_drafts_within_a_request_is_a_part_of_it(kept: Kept, llama: Any, file: Path):
    drafting = llama_cpp.Llama(str(file), n_ctx=64, n_threads=1, verbose=False)

    def draft(tokens: Any, logits: Any) -> bool:
        drafting("hello", max_tokens=2)
        return False

    criteria = llama_cpp.StoppingCriteriaList([draft])
    result = llama("hello", max_tokens=4, stopping_criteria=criteria, **ASCII)

    assert only(kept)[TOKENS] == result["usage"]["completion_tokens"] == 4


def test_what_comes_out_is_what_comes_out_without_us(kept: Kept, llama: Any):
    def answers() -> list[Any]:
        llama.reset()
        whole = llama("hello", max_tokens=8, seed=1)
        streamed = list(llama.create_completion("hello", max_tokens=8, seed=1, stream=True))
        chat = llama.create_chat_completion(CHAT, max_tokens=5, seed=1)
        tokens = llama.generate([1, 5, 6], temp=0.0)
        drawn = [next(tokens) for _ in range(5)]
        return [whole["choices"], whole["usage"], [c["choices"] for c in streamed], chat["choices"], drawn]

    instrumented = answers()
    uninstrument("llama_cpp")
    assert answers() == instrumented


def test_generators_and_signatures_stay_what_they_are(kept: Kept, llama: Any):
    ours = {name: inspect.signature(getattr(llama_cpp.Llama, name)) for name in ("generate", "create_completion")}

    assert inspect.isgenerator(llama.create_completion("hello", stream=True))
    assert inspect.isgenerator(llama.generate([1, 2]))
    uninstrument("llama_cpp")
    assert ours == {name: inspect.signature(getattr(llama_cpp.Llama, name)) for name in ours}


def test_a_prompt_that_the_engine_refuses_is_no_request(kept: Kept, llama: Any):
    with pytest.raises(ValueError, match="exceed context window"):
        llama("x" * 500)
    with pytest.raises(ValueError, match="exceed context window"):
        next(llama.create_completion("x" * 500, stream=True))

    assert kept.spans == []


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_of_the_engine_reaches_the_caller_and_is_told_by_its_class(kept: Kept, llama: Any, stream: bool):
    def broken(tokens: Any, logits: Any) -> bool:
        raise RuntimeError("a secret")

    criteria = llama_cpp.StoppingCriteriaList([broken])
    with pytest.raises(RuntimeError, match="a secret"):
        list(llama.create_completion("hello", stopping_criteria=criteria, stream=stream))

    told = only(kept)
    assert told["error.type"] == "RuntimeError"
    assert "a secret" not in str(kept.spans)


def test_what_a_caller_throws_into_a_stream_is_no_failure_of_the_engine(kept: Kept, llama: Any):
    chunks = llama.create_completion("hello", max_tokens=8, stream=True)
    next(chunks)
    with pytest.raises(KeyError):
        chunks.throw(KeyError("mine"))

    assert kept.spans == []


def test_a_model_that_is_closed_before_its_stream_is_still_told_of(file: Path, pytestconfig: pytest.Config):
    """Asked for anything afterwards, llama.cpp ends the process."""
    program = f"""
import llama_cpp
from metavox.telemetry.instrument import instrument
from metavox.telemetry.instrument.llama_cpp_model import describe
from tests.unit.sdk.telemetry.kept import Kept
kept = Kept()
instrument("llama_cpp", contribution=kept)
llama = llama_cpp.Llama({str(file)!r}, n_ctx=64, n_threads=1, verbose=False)
stream = llama.create_completion("hello", max_tokens=2, stream=True)
while not next(stream)["choices"][0]["finish_reason"]:
    pass
llama.close()
stream.close()
print(len(kept.spans))
other = llama_cpp.Llama({str(file)!r}, n_ctx=64, n_threads=1, verbose=False)
other.close()
try:
    describe(other)
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\nThe model was closed.\n"), done.stderr


def test_a_stream_that_outlives_the_instrumentation_goes_on_and_is_not_told_wrongly(kept: Kept, llama: Any):
    late = llama.create_completion("hello", max_tokens=4, stream=True, seed=1, **ASCII)
    uninstrument("llama_cpp")
    assert list(late)[-1]["choices"][0]["finish_reason"] == "length"

    assert kept.spans == []


@pytest.mark.parametrize("method", ["create_completion", "generate"])
def test_what_somebody_else_made_no_generator_is_given_on_as_it_is(
    kept: Kept, llama: Any, method: str, monkeypatch: pytest.MonkeyPatch
):
    uninstrument("llama_cpp")
    theirs = iter([7])
    monkeypatch.setattr(llama_cpp.Llama, method, lambda self, prompt, stream=True: theirs)
    instrument("llama_cpp", contribution=kept)

    assert getattr(llama, method)([1], stream=True) is theirs


def test_a_model_that_cannot_be_described_answers_all_the_same(
    kept: Kept, llama: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("metavox.telemetry.instrument.llama_cpp.describe", lambda *_: 1 / 0)

    assert llama("hello", max_tokens=3, **ASCII)["usage"]["completion_tokens"] == 3
    assert len(list(llama.create_completion("hello", max_tokens=3, stream=True))) >= 3
    assert kept.spans == []


def test_while_nobody_wants_to_know_nothing_is_measured(kept: Kept, llama: Any, monkeypatch: pytest.MonkeyPatch):
    kept.on = False
    monkeypatch.setattr("metavox.telemetry.instrument.llama_cpp.Tokens", lambda *_, **__: pytest.fail("measured"))

    llama("hello", max_tokens=3)
    list(llama.create_completion("hello", max_tokens=3, stream=True))
    next(llama.generate([1, 2]))
    assert kept.spans == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/h/hub/models--Qwen--Qwen3-0.6B-GGUF/snapshots/0a1b/Qwen3-0.6B-Q8_0.gguf", "Qwen/Qwen3-0.6B"),
        ("/h/hub/models--somebody--llama-GGUF/snapshots/0a1b/model.gguf", "somebody/llama"),
        ("/home/me/Qwen3-0.6B.gguf", "/home/me/Qwen3-0.6B.gguf"),
        ("Qwen/Qwen3-0.6B", "./Qwen/Qwen3-0.6B"),
    ],
)
def test_only_a_file_in_the_hubs_cache_has_a_hub_id(path: str, name: str):
    assert model_name(path) == name


@pytest.mark.parametrize(
    ("gpu_layers", "can_offload", "is_cpu"),
    [(0, True, True), (-1, False, True), (2, True, False), (-1, True, False)],
)
def test_a_model_that_is_split_runs_on_no_one_product(gpu_layers: int, can_offload: bool, is_cpu: bool):
    found = hardware(gpu_layers, 2, can_offload=can_offload).model or ""

    assert found.startswith("CPU") is is_cpu


def test_a_quantized_file_is_gguf(llama: Any, monkeypatch: pytest.MonkeyPatch, file: Path):
    other = llama_cpp.Llama(str(file), n_ctx=64, verbose=False)
    monkeypatch.setitem(other.metadata, "general.file_type", "15")

    assert describe(other).number_format == "gguf"
