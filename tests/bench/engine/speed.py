"""What every engine is asked for, and rounds in which they take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Protocol

import torch

from .quiet import wait_until_idle, watch_others


@dataclass(frozen=True)
class Speed:
    """Tokens a second: of the prompts, until every first token; and of the output, while all sequences run."""

    prefill: float
    decode: float


@dataclass(frozen=True)
class Workload:
    """So many prompts of so many random tokens, and so many greedy tokens for each."""

    num_seqs: int
    input_len: int
    output_len: int


class Contender(Protocol):
    """An engine with a loaded model."""

    name: str

    def measure(self, workload: Workload, prompts: list[list[int]]) -> Speed:
        """Run the workload once. An engine that takes no token ids makes up prompts of its own."""
        ...


class Prompts:
    """Random prompts, never the same twice, so that no engine finds them in a cache."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._seeds = count()

    def draw(self, num_seqs: int, length: int) -> list[list[int]]:
        """[num_seqs] lists of `length` ids, none of them a special token."""
        generator = torch.Generator().manual_seed(next(self._seeds))
        ids = torch.randint(300, self._vocab_size, (num_seqs, length), generator=generator)
        return ids.tolist()


def take_turns(
    contenders: Sequence[Contender],
    workloads: Sequence[Workload],
    prompts: Prompts,
    *,
    rounds: int,
    patience: float,
    progress: Callable[[str], object],
) -> list[dict[str, Any]]:
    """Measure every contender on every workload, round by round, so that a busy minute spoils no one's all.

    Returns:
        One record for each contender and workload: `prefill` and `decode` are the best of the rounds in tokens a
        second, `tpot` seconds for each output token of a sequence, `rounds` all of them with the share of the
        machine that others took meanwhile. A contender that fails has `error` instead.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for turn in range(rounds):
        for workload in workloads:
            ids = prompts.draw(workload.num_seqs, workload.input_len)
            for contender in contenders:
                key = contender.name, workload.num_seqs
                record = found.setdefault(
                    key, {"engine": contender.name, "num_seqs": workload.num_seqs, "rounds": []}
                )
                if "error" in record:
                    continue
                progress(f"{contender.name}, {workload.num_seqs} sequences, round {turn + 1} of {rounds}")
                wait_until_idle(patience)
                try:
                    with watch_others() as others:
                        speed = contender.measure(workload, ids)
                except Exception as error:  # the others go on
                    record["error"] = f"{type(error).__name__}: {error}"
                    continue
                record["rounds"].append({**asdict(speed), "others": others.value})
    for record in found.values():
        if record["rounds"]:
            record.update(best(record["rounds"], record["num_seqs"]))
    return list(found.values())


def best(rounds: Sequence[dict[str, Any]], num_seqs: int) -> dict[str, float]:
    """The best prefill and the best decode rate of the rounds, each for itself, and the time per output token."""
    prefill = max(one["prefill"] for one in rounds)
    decode = max(one["decode"] for one in rounds)
    return {"prefill": prefill, "decode": decode, "tpot": num_seqs / decode}


def steady_decode(token_times: Sequence[Sequence[float]]) -> float:
    """Tokens a second from the moment when all sequences have their first token until the first one ends.

    Args:
        token_times: the moments, in seconds, of each sequence's tokens; a step's tokens come at one moment.

    Raises:
        ValueError: the sequences never ran all at once.
    """
    start = max(times[0] for times in token_times)
    end = min(times[-1] for times in token_times)
    if end <= start:
        raise ValueError("A sequence ended before the last one began; ask for more output tokens.")
    return sum(start < moment <= end for times in token_times for moment in times) / (end - start)
