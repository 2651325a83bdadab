"""What is run, and the figures that are taken of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metavox import LLM
    from metavox.outputs import RequestMetrics


@dataclass(frozen=True)
class Workload:
    """What is measured.

    Attributes:
        num_seqs: how many sequences run at once; each number is measured by itself.
        input_len, output_len: tokens of each prompt and output.
        rounds: that count.
        warmup: rounds before them, for each number of sequences.
    """

    num_seqs: tuple[int, ...]
    input_len: int
    output_len: int
    rounds: int
    warmup: int


@dataclass(frozen=True)
class Figures:
    """One round, or the medians of several. Times are in seconds.

    Attributes:
        prefill_tokens_per_second: prompt tokens of all sequences, which arrive together, until the last one has
            its first token.
        time_to_first_token: the median sequence's TTFT meanwhile.
        decode_tokens_per_second: of all sequences together, while all of them decode; None where they never
            all do, as the first ended before the last began.
        time_per_output_token: the median sequence's TPOT.
    """

    prefill_tokens_per_second: float
    time_to_first_token: float
    decode_tokens_per_second: float | None
    time_per_output_token: float


def run_rounds(
    llm: LLM, workload: Workload, num_seqs: int, vocab_size: int, say: Callable[[str], None]
) -> list[Figures]:
    """Run the warm-up and the rounds of one number of sequences; the figures of the rounds."""
    found = []
    for number in range(workload.warmup + workload.rounds):
        what = f"round {number + 1 - workload.warmup} of {workload.rounds}"
        say(f"{num_seqs} sequences, {what if number >= workload.warmup else 'warm-up'}")
        seed = f"{num_seqs}/{number}"  # other prompts in each round: what is cached would be no prefill
        prompts = random_prompts(seed, num_seqs, workload.input_len, vocab_size)
        found.append(_run_round(llm, prompts, workload.output_len))
    return found[workload.warmup :]


def medians(rounds: list[Figures]) -> Figures:
    """The median of each figure."""
    decode = [one.decode_tokens_per_second for one in rounds if one.decode_tokens_per_second is not None]
    return Figures(
        median(one.prefill_tokens_per_second for one in rounds),
        median(one.time_to_first_token for one in rounds),
        median(decode) if decode else None,
        median(one.time_per_output_token for one in rounds),
    )


def _run_round(llm: LLM, prompts: list[list[int]], output_len: int) -> Figures:
    """The prompts once for one token each, then again, from the prefix cache, for all of their output.

    So prefill is measured without decode, and decode without prefill, however long the prompts are.
    """
    return figures(_generate(llm, prompts, 1), _generate(llm, prompts, output_len))


def random_prompts(seed: str, num_seqs: int, length: int, vocab_size: int) -> list[list[int]]:
    """Token ids, the same for the same arguments on every machine."""
    draw = random.Random(seed)  # noqa: S311 - no secrets
    return [draw.choices(range(vocab_size), k=length) for _ in range(num_seqs)]


def _generate(llm: LLM, prompts: list[list[int]], max_tokens: int) -> list[RequestMetrics]:
    from metavox.params import SamplingParams

    params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
    outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
    return [output.metrics for output in outputs]


def figures(prefill: list[RequestMetrics], decode: list[RequestMetrics]) -> Figures:
    """The figures of a run of the prompts alone, and of one that decodes."""
    seconds = max(one.first_token_time for one in prefill) - min(one.arrival_time for one in prefill)
    return Figures(
        prefill_tokens_per_second=sum(one.num_prompt_tokens for one in prefill) / seconds,
        time_to_first_token=median(one.time_to_first_token for one in prefill),
        decode_tokens_per_second=_decode_rate(decode),
        time_per_output_token=median(one.time_per_output_token or 0.0 for one in decode),
    )


def _decode_rate(requests: list[RequestMetrics]) -> float | None:
    times = [one.token_times[0] for one in requests]
    began, ended = max(each[0] for each in times), min(each[-1] for each in times)
    if ended <= began:
        return None
    return sum(began < moment <= ended for each in times for moment in each) / (ended - began)
