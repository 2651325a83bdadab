"""Thousands of requests of every shape, some of which nobody waits for: all memory comes back."""

from __future__ import annotations

import gc
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from metavox import LLM, SamplingParams
from metavox.engine.sequence import Sequence
from tests.checkpoints import one_cpu_thread, write_checkpoint
from tests.integration.shared import assert_idle

BATCH = 100
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
MEBIBYTE = 1 << 20


def resident_bytes() -> int:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Shapes:
    """Random requests. Some begin alike, some ask much, some are given up."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.prefixes = [[self.draw.randrange(3, 320) for _ in range(80)] for _ in range(6)]

    def prompt(self):
        draw = self.draw
        shared = draw.choice(self.prefixes)[: draw.choice([0, 0, 20, 40, 80])]
        return {"prompt_token_ids": shared + [draw.randrange(320) for _ in range(draw.randint(1, 40))]}

    def params(self):
        draw = self.draw
        settings = {"max_tokens": draw.choice([1, 2, 5, 10, 24]), "ignore_eos": draw.random() < 0.7}
        if draw.random() < 0.3:
            settings["temperature"] = 0
        elif draw.random() < 0.2:
            settings["n"] = draw.randint(2, 4)
        if draw.random() < 0.15:
            settings |= {"repetition_penalty": 1.2, "frequency_penalty": 0.3}
        if draw.random() < 0.15:
            settings |= {"stop": ["a", "th", "\n"], "min_tokens": 1}
        if draw.random() < 0.1:
            settings |= {"logprobs": draw.randint(0, 3)}
        if draw.random() < 0.05:
            settings |= {"prompt_logprobs": 1}
        if draw.random() < 0.1:
            settings |= {"top_k": 30, "top_p": 0.9, "min_p": 0.01, "seed": draw.randrange(99)}
        if draw.random() < 0.05:
            settings |= {"bad_words": [[5, 6], [7]], "logit_bias": {9: 2.5}}
        return SamplingParams(**settings)


def serve(llm: LLM, shapes: Shapes) -> int:
    """A hundred requests, at least. Returns how many had their end."""
    prompts = [shapes.prompt() for _ in range(BATCH - 20)]
    params = [shapes.params() for _ in prompts]
    with ThreadPoolExecutor(2) as pool:
        batch = pool.submit(llm.generate, prompts, params)
        read = pool.submit(
            listen, llm, [(shapes.prompt(), shapes.params()) for _ in range(20)], shapes.draw.random()
        )
        outputs = batch.result()
        finished = len(outputs) + read.result()
    for output, asked in zip(outputs, params, strict=True):
        assert len(output.outputs) == asked.n
        for completion in output.outputs:
            assert completion.finish_reason in ("stop", "length")
            assert completion.finish_reason == "stop" or len(completion.token_ids) == asked.max_tokens
    return finished


def listen(llm: LLM, requests, seed: float) -> int:
    """Streams, of which two in three are left early: closed, or dropped."""
    draw, finished = random.Random(seed), 0
    for prompt, params in requests:
        stream, patience = llm.stream(prompt, params), draw.choice([None, 0, 1, 3])
        for number, chunk in enumerate(stream):
            if patience is not None and number >= patience:
                break
            finished += chunk.output is not None
        if draw.random() < 0.5:
            stream.close()
        del stream
    return finished


def sequences() -> int:
    gc.collect()
    return sum(type(each) is Sequence for each in gc.get_objects())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see the memory")
@pytest.mark.parametrize(
    ("num_requests", "speculative"),
    [(2_000, None), (800, {"num_speculative_tokens": 3, "prompt_lookup_min": 1})],
    ids=["plain", "drafting"],
)
def test_thousands_of_requests_of_random_shape_leave_nothing_behind(tmp_path, num_requests, speculative):
    with one_cpu_thread():
        llm = LLM(
            write_checkpoint(tmp_path, **SMALL),
            num_kv_blocks=40,
            block_size=4,
            max_num_batched_tokens=64,
            max_num_seqs=12,
            speculative_config=speculative,
        )
        shapes, finished, memory, before = Shapes(0), 0, [], sequences()
        for number in range(BATCH, num_requests + 1, BATCH):
            finished += serve(llm, shapes)
            if number in (500, num_requests):
                memory.append(resident_bytes())
        stream = llm.stream({"prompt_token_ids": [3]}, SamplingParams(ignore_eos=True))
        next(stream)  # which ends what was dropped last
        assert sequences() == before + 1
        stream.close()
        assert_idle(llm)
        assert llm._driver.engine.scheduler.num_preemptions > 20
        assert finished > num_requests * 0.8
        assert memory[1] - memory[0] < 16 * MEBIBYTE
