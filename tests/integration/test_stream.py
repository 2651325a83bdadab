"""LLM.stream: text as it comes, none of it taken back, and nothing left when nobody listens any more."""

from __future__ import annotations

import contextlib
import gc
import random

import pytest

from metavox import LLM, SamplingParams
from metavox.errors import EngineLost, InvalidRequest, NonFiniteLogits
from metavox.telemetry.hardware import undescribed
from metavox.telemetry.spans import request_span
from tests.integration.shared import GREEDY, assert_idle, some_prompts

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = SamplingParams(seed=1, max_tokens=100, ignore_eos=True)


@pytest.fixture(scope="module")
def llm(folder):
    return LLM(folder)


def check_chunks(chunks, output):
    """They are the parts of the output, each told once, and the output is on the last one."""
    for completion in output.outputs:
        own = [chunk for chunk in chunks if chunk.index == completion.index]
        assert "".join(map(str, own)) == completion.text
        assert [token for chunk in own for token in chunk.token_ids] == completion.token_ids
        assert [chunk.finish_reason for chunk in own[:-1]] == [None] * (len(own) - 1)
        assert [chunk.stop_reason for chunk in own[:-1]] == [None] * (len(own) - 1)
        assert (own[-1].finish_reason, own[-1].stop_reason) == (completion.finish_reason, completion.stop_reason)
        if completion.logprobs is not None:
            assert [entries for chunk in own for entries in chunk.logprobs] == completion.logprobs
    assert [chunk.output is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


@pytest.mark.parametrize(
    "params",
    [
        GREEDY,
        SamplingParams(seed=1, max_tokens=40, logprobs=2),
        SamplingParams(seed=1, max_tokens=30, n=3, ignore_eos=True),
        SamplingParams(seed=1, max_tokens=1),
    ],
    ids=["greedy", "logprobs", "several", "one token"],
)
def test_the_chunks_are_the_parts_of_what_generate_gives(llm, params):
    chunks = list(llm.stream("the", params))
    output = llm.generate("the", params)
    assert chunks[-1].output.outputs == output.outputs
    check_chunks(chunks, output)


def test_tokens_come_one_by_one(llm):
    chunks = list(llm.stream("the", SamplingParams(temperature=0, max_tokens=9, ignore_eos=True)))
    assert [len(chunk.token_ids) for chunk in chunks] == [1] * 9


def test_text_that_may_be_the_beginning_of_a_stop_string_is_held_back_until_it_is_sure(llm):
    """The random model writes bytes, so many of its characters take several tokens, and many are broken."""
    draw = random.Random(0)
    free = [llm.generate("the", SamplingParams(seed=seed, max_tokens=60, ignore_eos=True)) for seed in range(8)]
    stopped = 0
    for number in range(60):
        seed = number % 8
        text = free[seed].outputs[0].text
        begin = draw.randrange(len(text) - 6)
        stops = [text[begin : begin + draw.randint(1, 6)]]
        stops += ["".join(draw.choices(text, k=draw.randint(1, 4))) for _ in range(draw.randint(0, 2))]
        stops += [text[at : at + 2] + "\u1234" for at in range(0, 50, 7)]  # which never come, but begin
        params = SamplingParams(
            seed=seed,
            max_tokens=60,
            ignore_eos=True,
            stop=stops,
            min_tokens=draw.choice([0, 0, 10]),
            include_stop_str_in_output=draw.random() < 0.3,
        )
        chunks = list(llm.stream("the", params))
        output = chunks[-1].output
        check_chunks(chunks, output)
        completion = output.outputs[0]
        assert text.startswith(completion.text.removesuffix("\ufffd"))
        if completion.finish_reason == "stop":
            stopped += 1
            assert completion.stop_reason in stops
            assert completion.text.endswith(completion.stop_reason) or not params.include_stop_str_in_output
            assert text.find(completion.stop_reason) >= 0
        elif not params.min_tokens:
            assert not any(stop in text for stop in stops)
    assert stopped > 40


def test_whole_characters_come_of_text_with_many_bytes():
    llm = LLM("metavox/tiny")
    tokens = llm.get_tokenizer().encode("🦙 naïve 漢字 — ok")
    ids = iter([*tokens, *tokens])
    forced = llm._driver.engine.runner._sampler
    sample = forced.sample

    def chosen(logits, batch):
        found = sample(logits, batch)
        found.token_ids[:] = next(ids)
        return found

    forced.sample = chosen
    chunks = list(llm.stream("x", SamplingParams(temperature=0, max_tokens=len(tokens), ignore_eos=True)))
    assert "".join(map(str, chunks)) == "🦙 naïve 漢字 — ok"
    assert not any("\ufffd" in chunk.text for chunk in chunks)
    assert len(tokens) > len("🦙 naïve 漢字 — ok") - 5


@pytest.mark.parametrize("how", ["close", "with", "drop", "never begun", "exception"])
def test_leaving_a_stream_early_frees_everything(llm, how):
    stream = llm.stream("the", LONG)
    if how != "never begun":
        next(stream)
    if how == "close":
        stream.close()
        assert list(stream) == []
        stream.close()
    elif how == "with":
        with stream:
            next(stream)
    elif how == "exception":
        with contextlib.suppress(ZeroDivisionError), stream:
            1 / 0  # noqa: B018
    del stream
    gc.collect()
    llm.generate("x", GREEDY)  # what was dropped is ended by the next step of anyone
    assert_idle(llm)


def test_other_calls_in_the_middle_of_a_stream_run_beside_it(llm):
    whole = llm.generate("the", LONG)
    alone = llm.generate("one", GREEDY)
    chunks = []
    for chunk in llm.stream("the", LONG):
        chunks.append(chunk)
        if len(chunks) == 5:
            beside = llm.generate("one", GREEDY)
    assert beside.outputs == alone.outputs
    assert beside.metrics.max_concurrency == 2
    check_chunks(chunks, whole)


def test_streams_can_be_read_in_turns(llm):
    prompts = some_prompts(5)
    whole = llm.generate(prompts, GREEDY)
    streams = [llm.stream(prompt, GREEDY) for prompt in prompts]
    chunks = [[] for _ in streams]
    while any(streams):
        for at, stream in enumerate(streams):
            chunk = next(stream, None) if stream else None
            if chunk is None:
                streams[at] = None
            else:
                chunks[at].append(chunk)
    for own, output in zip(chunks, whole, strict=True):
        check_chunks(own, output)
        assert own[-1].output.metrics.max_concurrency == 5


def test_a_bad_request_is_refused_before_the_first_chunk(llm):
    with pytest.raises(InvalidRequest, match="prompt is empty"):
        llm.stream("")
    with pytest.raises(InvalidRequest, match="a list; give token ids as"):
        llm.stream(["a", "b"])
    assert_idle(llm)


def test_a_stream_whose_model_gives_no_numbers_ends_with_the_error(folder):
    llm = LLM(folder)
    logits = llm._driver.engine.runner.model.logits
    llm._driver.engine.runner.model.logits = lambda hidden: logits(hidden).fill_(float("nan"))
    stream = llm.stream("the", GREEDY)
    assert next(stream).finish_reason == "error"
    with pytest.raises(NonFiniteLogits) as caught:
        next(stream)
    assert caught.value.outputs[0].outputs[0].finish_reason == "error"
    assert list(stream) == []
    assert_idle(llm)


def test_closing_the_llm_ends_its_streams(folder):
    llm = LLM(folder)
    stream = llm.stream("the", LONG)
    next(stream)
    llm.close()
    with pytest.raises(EngineLost, match="closed"):
        list(stream)
    assert list(stream) == []
    with pytest.raises(EngineLost):
        llm.stream("the", LONG)
    stream.close()


def test_a_finished_stream_is_told_to_telemetry_once(folder):
    llm = LLM(folder)
    told = []
    llm.recorder.finished = lambda batch: told.extend(output.request_id for output, _ in batch)
    list(llm.stream("the", GREEDY))
    stream = llm.stream("the", LONG)
    next(stream)
    stream.close()
    assert told == ["0"]


def test_spans_say_whether_the_output_was_streamed(folder):
    llm = LLM(folder)
    spans = []
    llm.recorder.finished = lambda batch: spans.extend(
        request_span(output, llm.info, params, undescribed()) for output, params in batch
    )
    llm.generate("the", GREEDY)
    list(llm.stream("the", GREEDY))
    assert [span.attributes["gen_ai.request.stream"] for span in spans] == [False, True]
