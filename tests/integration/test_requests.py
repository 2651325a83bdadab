"""What a request can ask, from end to end; the arithmetic of sampling has its own tests."""

from __future__ import annotations

import json
import re

import pytest
import torch

from metavox import LLM, SamplingParams, StructuredOutputsParams
from metavox.errors import InvalidRequest, NonFiniteLogits
from tests.checkpoints import write_checkpoint
from tests.integration.shared import GREEDY, assert_idle, some_prompts, token_ids

pytestmark = pytest.mark.usefixtures("one_thread")

TELL = "Once upon a time"


@pytest.fixture(scope="module")
def llm(folder):
    return LLM(folder)


@pytest.fixture(scope="module")
def bundled():
    return LLM("metavox/tiny")


def test_several_completions_differ_are_in_order_and_repeatable(llm):
    params = SamplingParams(n=5, seed=3, max_tokens=12, ignore_eos=True)
    output = llm.generate("the", params)
    ids = [completion.token_ids for completion in output.outputs]
    assert [completion.index for completion in output.outputs] == [0, 1, 2, 3, 4]
    assert len(set(map(tuple, ids))) == 5
    assert output.metrics.num_generation_tokens == 60
    assert [len(times) for times in output.metrics.token_times] == [12] * 5
    among_others = llm.generate([*some_prompts(6), "the"], [*[GREEDY] * 6, params])[-1]
    assert [completion.token_ids for completion in among_others.outputs] == ids
    assert (
        ids[0] == llm.generate("the", SamplingParams(seed=3, max_tokens=12, ignore_eos=True)).outputs[0].token_ids
    )


def test_more_completions_than_may_run_at_once_all_come(folder):
    llm = LLM(folder, max_num_seqs=3, num_kv_blocks=12)
    params = SamplingParams(n=8, seed=3, max_tokens=20, ignore_eos=True)
    prompt = {"prompt_token_ids": list(range(3, 43))}
    few, many = llm.generate(prompt, params), LLM(folder).generate(prompt, params)
    assert few.outputs == many.outputs
    assert_idle(llm)


@pytest.mark.parametrize("prompt_logprobs", [None, 1])
def test_completions_compute_their_prompt_once(folder, prompt_logprobs):
    llm = LLM(folder)
    forward, counted = llm._driver.engine.runner.model.forward, []
    llm._driver.engine.runner.model.forward = lambda ids, *rest: counted.append(len(ids)) or forward(ids, *rest)
    params = SamplingParams(n=4, max_tokens=1, prompt_logprobs=prompt_logprobs)
    output = llm.generate({"prompt_token_ids": list(range(200, 281))}, params)
    assert sum(counted) == 81 + 3
    assert prompt_logprobs is None or len(output.prompt_logprobs) == 81


@pytest.fixture(scope="module")
def reference(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def log_softmax(ids):
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)

    return log_softmax


def close(entries, row, token, number):
    """The token's own, and the likeliest, against a row of log-probabilities."""
    assert entries[token].logprob == pytest.approx(row[token].item(), abs=2e-4)
    assert entries[token].rank == 1 + int((row > row[token]).sum())
    likeliest = row.topk(number).indices.tolist() if number else []
    assert set(entries) == {token, *likeliest}
    assert all(entries[other].logprob == pytest.approx(row[other].item(), abs=2e-4) for other in likeliest)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_logprobs_are_those_of_transformers(llm, reference, number):
    prompts = some_prompts(4)
    params = SamplingParams(seed=1, temperature=0.7, top_k=20, max_tokens=8, logprobs=number, ignore_eos=True)
    for prompt, output in zip(prompts, llm.generate(prompts, params), strict=True):
        completion = output.outputs[0]
        rows = reference(prompt["prompt_token_ids"] + completion.token_ids)[len(prompt["prompt_token_ids"]) - 1 :]
        for entries, row, token in zip(completion.logprobs, rows, completion.token_ids, strict=False):
            close(entries, row, token, number)
        chosen = zip(completion.logprobs, completion.token_ids, strict=True)
        assert completion.cumulative_logprob == pytest.approx(sum(each[token].logprob for each, token in chosen))


@pytest.mark.parametrize(
    "settings", [{}, {"max_num_batched_tokens": 7, "num_kv_blocks": 14, "max_num_seqs": 7}], ids=["roomy", "tight"]
)
def test_prompt_logprobs_are_those_of_transformers(folder, reference, settings):
    llm = LLM(folder, **settings)
    prompts = [*some_prompts(4), {"prompt_token_ids": [8] * 150}, {"prompt_token_ids": [9]}]
    params = SamplingParams(temperature=0, max_tokens=3, prompt_logprobs=2, ignore_eos=True)
    for _ in range(2):  # the second time it could come from the cache, which has no logits
        for prompt, output in zip(prompts, llm.generate(prompts, params), strict=True):
            ids = prompt["prompt_token_ids"]
            assert output.prompt_logprobs[0] is None
            assert len(output.prompt_logprobs) == len(ids)
            for entries, row, token in zip(output.prompt_logprobs[1:], reference(ids), ids[1:], strict=False):
                close(entries, row, token, 2)
    assert_idle(llm)


def test_a_logprob_has_the_text_of_its_token(llm):
    output = llm.generate("the", SamplingParams(temperature=0, max_tokens=4, logprobs=3, prompt_logprobs=1))
    tokenizer = llm.get_tokenizer()
    for entries in [*output.outputs[0].logprobs, *filter(None, output.prompt_logprobs)]:
        assert all(entry.decoded_token == tokenizer.decode([token]) for token, entry in entries.items())


def test_nobody_gets_logprobs_who_did_not_ask(llm):
    asks, does_not = llm.generate(["the", "one"], [SamplingParams(logprobs=1), SamplingParams()])
    assert len(asks.outputs[0].logprobs) == len(asks.outputs[0].token_ids)
    assert (
        does_not.outputs[0].logprobs is does_not.outputs[0].cumulative_logprob is does_not.prompt_logprobs is None
    )


def test_stop_token_ids_end_the_output_and_are_its_reason(llm):
    free = llm.generate("the", SamplingParams(temperature=0, max_tokens=30, ignore_eos=True)).outputs[0].token_ids
    stop = free[9]
    cut = llm.generate("the", SamplingParams(temperature=0, max_tokens=30, ignore_eos=True, stop_token_ids=[stop]))
    first = free.index(stop)
    assert cut.outputs[0].token_ids == free[: first + 1]
    assert (cut.outputs[0].finish_reason, cut.outputs[0].stop_reason) == ("stop", stop)


def test_nothing_but_what_is_allowed_comes_and_what_is_bad_does_not(llm):
    allowed = SamplingParams(max_tokens=30, allowed_token_ids=[7, 8, 9], ignore_eos=True)
    assert set(llm.generate("the", allowed).outputs[0].token_ids) <= {7, 8, 9}
    biased = SamplingParams(temperature=0, max_tokens=5, logit_bias={11: 100}, ignore_eos=True)
    assert llm.generate("the", biased).outputs[0].token_ids == [11] * 5
    bad = SamplingParams(max_tokens=60, allowed_token_ids=[7, 8, 9], bad_words=[[7, 8], [9]], ignore_eos=True)
    ids = llm.generate("the", bad).outputs[0].token_ids
    assert 9 not in ids
    assert re.fullmatch("8*7*", "".join(map(str, ids)))


def test_penalties_keep_a_text_from_repeating_itself(llm):
    biased = {"temperature": 0, "max_tokens": 12, "logit_bias": {11: 90, 12: 60, 13: 45}, "ignore_eos": True}
    assert set(llm.generate("the", SamplingParams(**biased)).outputs[0].token_ids) == {11}
    penalized = llm.generate("the", SamplingParams(**biased, repetition_penalty=3)).outputs[0].token_ids
    assert {11, 12, 13} <= set(penalized)


FORMS = [
    (StructuredOutputsParams(choice=["yes", "no", "maybe so"]), lambda text: text in ("yes", "no", "maybe so")),
    (StructuredOutputsParams(regex=r"[A-F]{3}-\d{4}"), lambda text: re.fullmatch(r"[A-F]{3}-\d{4}", text)),
    (
        StructuredOutputsParams(
            json={
                "type": "object",
                "properties": {
                    "name": {"enum": ["fox", "owl"]},
                    "age": {"type": "integer", "maximum": 99, "minimum": 0},
                },
                "required": ["name", "age"],
                "additionalProperties": False,
            },
            disable_any_whitespace=True,
        ),
        lambda text: json.loads(text)["name"] in ("fox", "owl") and 0 <= json.loads(text)["age"] <= 99,
    ),
]


@pytest.mark.parametrize(("form", "holds"), FORMS, ids=["choice", "regex", "json"])
def test_the_output_has_the_form_that_was_asked_for(bundled, form, holds):
    params = SamplingParams(temperature=1.0, seed=2, n=3, max_tokens=40, structured_outputs=form)
    outputs = bundled.generate([TELL, "The answer is"], params)
    for completion in (completion for output in outputs for completion in output.outputs):
        assert completion.finish_reason == "stop", completion
        assert holds(completion.text), completion.text
    for index in range(3):
        chunks = [chunk for chunk in bundled.stream(TELL, params) if chunk.index == index]
        assert "".join(map(str, chunks)) == outputs[0].outputs[index].text
    assert_idle(bundled)


def test_a_form_beside_free_text_and_drafts_binds_its_own_request_alone():
    plain = LLM("metavox/tiny", enable_prefix_caching=False)
    drafting = LLM("metavox/tiny", speculative_config={"num_speculative_tokens": 3, "prompt_lookup_min": 1})
    params = [
        SamplingParams(temperature=0, max_tokens=24),
        SamplingParams(temperature=0, max_tokens=24, structured_outputs=FORMS[1][0]),
        SamplingParams(seed=5, max_tokens=24, logprobs=0),
    ]
    alone = [plain.generate(TELL, each).outputs[0].token_ids for each in params]
    assert token_ids(plain.generate([TELL] * 3, params)) == alone
    assert token_ids(drafting.generate([TELL] * 3, params)) == alone


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"regex": "(("}, "StructuredOutputsParams.regex cannot be used"),
        ({"json": {"type": "no such type"}}, "StructuredOutputsParams.json cannot be used"),
    ],
)
def test_a_form_that_cannot_be_followed_is_refused(bundled, form, words):
    with pytest.raises(InvalidRequest, match=words):
        bundled.generate(TELL, SamplingParams(structured_outputs=StructuredOutputsParams(**form)))
    assert_idle(bundled)


def test_a_form_that_no_token_goes_on_with_is_told_of(tmp_path):
    llm = LLM(write_checkpoint(tmp_path, vocab_size=80))  # has an "a", and no "z"
    form = StructuredOutputsParams(regex="a+z+")
    with pytest.raises(InvalidRequest, match=r"choice cannot be used: .* the model's tokens can begin"):
        llm.generate("a", SamplingParams(structured_outputs=StructuredOutputsParams(choice=["zz"])))
    ended = llm.generate("a", SamplingParams(structured_outputs=form, max_tokens=9)).outputs[0]
    assert ended.text == "a" * 9
    with pytest.raises(NonFiniteLogits, match="or its structured_outputs cannot be gone on with"):
        llm.generate("a", SamplingParams(structured_outputs=StructuredOutputsParams(regex="az")))


def test_metrics_tell_of_every_token(llm):
    outputs = llm.generate(some_prompts(5), SamplingParams(n=2, seed=1, max_tokens=9, ignore_eos=True))
    for metrics in (output.metrics for output in outputs):
        assert [len(times) for times in metrics.token_times] == [9, 9]
        assert all(list(times) == sorted(times) for times in metrics.token_times)
        assert metrics.first_token_time == min(times[0] for times in metrics.token_times)
        assert metrics.finished_time == max(times[-1] for times in metrics.token_times)
        assert len(metrics.inter_token_latencies) == 16
        assert min(metrics.inter_token_latencies) >= 0
        assert 0 < metrics.prefill_time <= metrics.time_to_first_token <= metrics.request_duration


def test_who_waits_for_a_place_has_time_in_the_queue(folder):
    llm = LLM(folder, max_num_seqs=1)
    first, second = llm.generate(["the", "one"], GREEDY)
    assert second.metrics.time_in_queue >= first.metrics.request_duration * 0.9 > 0
    assert first.metrics.max_concurrency == second.metrics.max_concurrency == 1


def test_all_requests_of_a_call_are_told_to_telemetry_at_once(folder):
    llm = LLM(folder)
    told = []
    llm.recorder.finished = lambda batch: told.append(len(list(batch)))
    llm.generate(["a", "b", "c"], SamplingParams(max_tokens=2))
    assert told == [3]
