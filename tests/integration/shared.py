"""What the tests of a whole engine share: prompts, what came back, and whether all was given back."""

from __future__ import annotations

import random

from metavox import LLM, RequestOutput, SamplingParams

GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)


def token_ids(outputs: list[RequestOutput]) -> list[list[int]]:
    return [output.outputs[0].token_ids for output in outputs]


def some_prompts(count: int = 12, *, seed: int = 1, longest: int = 60) -> list[dict[str, list[int]]]:
    draw = random.Random(seed)
    return [
        {"prompt_token_ids": [draw.randrange(320) for _ in range(draw.randint(1, longest))]} for _ in range(count)
    ]


def assert_idle(llm: LLM) -> None:
    """Nothing is left of any request: no block, no slot, no state, nobody in line."""
    driver = llm._driver
    scheduler = driver.engine.scheduler
    assert not driver.has_work
    assert not driver._is_broken
    assert not driver.engine._states
    assert not scheduler.waiting
    assert not scheduler.running
    assert len(scheduler._slots) == scheduler.max_num_seqs
    assert scheduler.blocks.num_free == scheduler.blocks.num_blocks
    assert not any(scheduler.blocks._holders)
