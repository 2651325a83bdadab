"""A request's output depends on the request alone: not on company, cache, memory, chunks, drafts or threads."""

from __future__ import annotations

import functools
import random

import pytest
import torch

from metavox import LLM, SamplingParams
from metavox.errors import InvalidArgument
from metavox_kernels.native import build
from tests.checkpoints import write_checkpoint
from tests.integration.shared import GREEDY, assert_idle, some_prompts, token_ids

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
SAMPLED = SamplingParams(seed=7, max_tokens=24, top_k=50, top_p=0.95, ignore_eos=True)
PREFIX = [random.Random(3).randrange(3, 320) for _ in range(100)]


@pytest.fixture(scope="module")
def alone(folder):
    """One request at a time, with nothing kept."""
    llm = LLM(folder, enable_prefix_caching=False)

    @functools.cache
    def one(ids, params):
        return llm.generate({"prompt_token_ids": ids}, params).outputs[0].token_ids

    return lambda prompts, params: [one(tuple(prompt["prompt_token_ids"]), params) for prompt in prompts]


def branching(count: int, seed: int = 0) -> list[dict[str, list[int]]]:
    """Prompts that share beginnings of any length."""
    draw = random.Random(seed)
    return [
        {
            "prompt_token_ids": PREFIX[: draw.randint(0, 100)]
            + [draw.randrange(320) for _ in range(draw.randint(1, 30))]
        }
        for _ in range(count)
    ]


HARD = [
    {"num_kv_blocks": 24, "block_size": 8, "max_num_batched_tokens": 33},
    {"num_kv_blocks": 90, "block_size": 2, "max_num_batched_tokens": 9, "max_num_seqs": 7},
    {"num_kv_blocks": 200, "block_size": 1, "max_num_batched_tokens": 32},
    {"num_kv_blocks": 30, "block_size": 16, "enable_prefix_caching": False},
    {"num_kv_blocks": 12, "max_num_batched_tokens": 5, "max_num_seqs": 5},
]


@pytest.mark.parametrize("settings", HARD, ids=str)
@pytest.mark.parametrize("params", [LONG, SAMPLED], ids=["greedy", "sampled"])
def test_hits_chunks_and_preemption_change_no_token(folder, alone, settings, params):
    llm = LLM(folder, **settings)
    prompts = branching(24)
    assert token_ids(llm.generate(prompts, params)) == alone(prompts, params)
    again = llm.generate(prompts, params)
    assert token_ids(again) == alone(prompts, params)
    assert_idle(llm)
    cached = any(output.num_cached_tokens for output in again)
    assert cached == settings.get("enable_prefix_caching", True)


def test_a_pool_too_small_for_all_preempts(folder, alone):
    llm = LLM(folder, num_kv_blocks=24, block_size=8, max_num_batched_tokens=33)
    prompts = some_prompts(10)
    assert token_ids(llm.generate(prompts, LONG)) == alone(prompts, LONG)
    assert llm._driver.engine.scheduler.num_preemptions > 0
    assert_idle(llm)


def test_what_came_from_the_cache_is_counted_in_whole_blocks(folder):
    llm = LLM(folder)
    outputs = [llm.generate({"prompt_token_ids": PREFIX[:length]}, GREEDY) for length in (50, 50, 48, 33, 90)]
    assert [output.num_cached_tokens for output in outputs] == [0, 48, 32, 32, 48]
    assert [output.metrics.num_cached_tokens for output in outputs] == [0, 48, 32, 32, 48]
    # Output counts too: of 50 + 8 tokens the last is never computed.
    follow_up = PREFIX[:50] + outputs[0].outputs[0].token_ids
    longer = llm.generate({"prompt_token_ids": PREFIX[:41] + [9] * 8}, SamplingParams(temperature=0, max_tokens=24))
    whole = PREFIX[:41] + [9] * 8 + longer.outputs[0].token_ids
    assert llm.generate({"prompt_token_ids": whole}, GREEDY).num_cached_tokens == (len(whole) - 1) // 16 * 16
    assert llm.generate({"prompt_token_ids": follow_up}, GREEDY).num_cached_tokens == 48


def test_a_prefix_cache_that_is_off_finds_nothing(folder):
    llm = LLM(folder, enable_prefix_caching=False)
    assert [llm.generate({"prompt_token_ids": PREFIX}, GREEDY).num_cached_tokens for _ in range(2)] == [0, 0]


def test_a_shared_prefix_of_many_is_computed_once(folder):
    llm = LLM(folder)
    forward, counted = llm._driver.engine.runner.model.forward, []
    llm._driver.engine.runner.model.forward = lambda ids, *rest: counted.append(len(ids)) or forward(ids, *rest)
    prompts = [{"prompt_token_ids": [*PREFIX[:96], at]} for at in range(20)]
    outputs = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=1))
    assert sum(counted) == 97 + 19
    assert [output.num_cached_tokens for output in outputs] == [0] + [96] * 19


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        ("qwen3", "float32"),
        ("qwen3", "bfloat16"),
        ("llama", "float16"),
        ("gemma3", "bfloat16"),
        ("qwen3_moe", "bfloat16"),
    ],
)
def test_every_bit_is_the_same_alone_and_in_company(tmp_path, family, dtype):
    if build.load("linear") is None:
        pytest.skip("without a compiler the products are a library's, whose order of summation is its own")
    write_checkpoint(tmp_path, family)
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True, logprobs=3)
    crowd = LLM(tmp_path, dtype=dtype, num_kv_blocks=60, max_num_batched_tokens=50)
    single = LLM(tmp_path, dtype=dtype, enable_prefix_caching=False)
    prompts = branching(12)
    together = crowd.generate(prompts, params)
    for output, prompt in zip(together, prompts, strict=True):
        assert output.outputs[0].logprobs == single.generate(prompt, params).outputs[0].logprobs


@pytest.mark.parametrize(
    "settings", [{"kv_cache_dtype": "int8"}, {"quantization": "int8"}, {"quantization": "int4"}], ids=str
)
def test_every_bit_is_the_same_with_integers_too(folder, settings):
    if build.load("linear") is None:
        pytest.skip("without a compiler the products are a library's, whose order of summation is its own")
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True, logprobs=3)
    crowd = LLM(folder, num_kv_blocks=60, max_num_batched_tokens=50, **settings)
    single = LLM(folder, enable_prefix_caching=False, **settings)
    prompts = branching(12)
    for output, prompt in zip(crowd.generate(prompts, params), prompts, strict=True):
        assert output.outputs[0].logprobs == single.generate(prompt, params).outputs[0].logprobs


def test_the_number_of_threads_changes_no_bit(folder):
    if build.load("linear") is None:
        pytest.skip("without a compiler the products are a library's, whose order of summation is its own")
    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True, logprobs=3)
    llm, prompts, found = LLM(folder, enable_prefix_caching=False), branching(12), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([output.outputs[0].logprobs for output in llm.generate(prompts, params)])
    finally:
        torch.set_num_threads(1)
    assert found[0] == found[1] == found[2]


SPECULATIVE = {"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 4, "prompt_lookup_min": 1}


@pytest.mark.parametrize(
    "params",
    [LONG, SAMPLED, SamplingParams(seed=3, temperature=0.3, max_tokens=40, logprobs=2)],
    ids=["greedy", "sampled", "cold"],
)
@pytest.mark.parametrize(
    "settings", [{}, {"num_kv_blocks": 24, "block_size": 8, "max_num_batched_tokens": 33}], ids=["roomy", "tight"]
)
def test_drafts_change_no_token(folder, alone, params, settings):
    llm = LLM(folder, speculative_config=SPECULATIVE, **settings)
    prompts = [*branching(12), {"prompt_token_ids": [5, 6, 7, 8] * 12}]
    assert token_ids(llm.generate(prompts, params)) == alone(prompts, params)
    assert_idle(llm)


def test_drafts_save_steps_on_text_that_repeats_itself(folder, alone):
    llm = LLM(folder, speculative_config=SPECULATIVE)
    forward, steps = llm._driver.engine.runner.model.forward, []
    llm._driver.engine.runner.model.forward = lambda ids, *rest: steps.append(len(ids)) or forward(ids, *rest)
    params = SamplingParams(temperature=0, max_tokens=100, logit_bias={4: 100, 5: 99.9})
    prompt = {"prompt_token_ids": [4, 5, 4, 5, 4, 5, 4, 5]}
    output = llm.generate(prompt, params)
    assert [output.outputs[0].token_ids] == alone([prompt], params)
    assert len(steps) < 60
    assert len(output.metrics.inter_token_latencies) == 99


def test_what_looks_back_at_the_output_is_not_drafted_and_right(folder, alone):
    llm = LLM(folder, speculative_config=SPECULATIVE)
    prompts = branching(6)
    for params in (
        SamplingParams(temperature=0, max_tokens=20, repetition_penalty=1.3, ignore_eos=True),
        SamplingParams(temperature=0, max_tokens=20, bad_words=[[7, 8], [9]], ignore_eos=True),
    ):
        assert token_ids(llm.generate(prompts, params)) == alone(prompts, params)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"method": "eagle"}, "method must be 'ngram'"),
        ({"method": "ngram"}, "num_speculative_tokens must be an integer from 1 to 64, and is None"),
        ({"num_speculative_tokens": 0}, "num_speculative_tokens"),
        ({"num_speculative_tokens": 2, "prompt_lookup_min": 5}, "must not be above"),
        ({"num_speculative_tokens": 2, "model": "small"}, "does not know 'model'"),
        ("ngram", "must be a dict"),
    ],
)
def test_a_speculative_config_that_cannot_be_followed_is_refused(folder, config, words):
    with pytest.raises(InvalidArgument, match=words):
        LLM(folder, speculative_config=config)


def test_penalties_and_seeds_survive_preemption(folder, alone):
    llm = LLM(folder, num_kv_blocks=24, block_size=8, max_num_batched_tokens=33)
    prompts = branching(16)
    params = [
        SamplingParams(
            seed=at, max_tokens=40, ignore_eos=True, repetition_penalty=1.2, presence_penalty=0.5,
            frequency_penalty=0.3, min_p=0.02, bad_words=[[at + 3, at + 4]] if at % 2 else None,
        )
        for at in range(16)
    ]  # fmt: skip
    together = token_ids(llm.generate(prompts, params))
    assert llm._driver.engine.scheduler.num_preemptions > 0
    assert together == [alone([prompt], each)[0] for prompt, each in zip(prompts, params, strict=True)]
