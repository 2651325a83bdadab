"""The ratios that the engine is held to, read from a run's results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A claim, the ratio in a run's results that it is about, and the bound that the ratio should keep."""

    claim: str
    ratio: Callable[[Results], float]
    bound: float
    at_most: bool = False

    def read(self, results: Results) -> dict[str, Any] | None:
        """The `value` and whether it is `reached`; None where the run did not measure what it needs."""
        try:
            value = self.ratio(results)
        except (KeyError, StopIteration):
            return None
        reached = value <= self.bound if self.at_most else value >= self.bound
        record = {key: kept for key, kept in asdict(self).items() if key != "ratio"}
        return {**record, "value": value, "reached": reached}


def speed(results: Results, engine: str, num_seqs: int, key: str = "decode") -> float:
    """The best rate of an engine, from the section `speed` or `quantized`. Raises KeyError without one."""
    for record in (*results.get("speed", ()), *results.get("quantized", ())):
        if record["engine"] == engine and record["num_seqs"] == num_seqs:
            return float(record[key])
    raise KeyError(engine)


def over(ours: str, peer: str, num_seqs: int, key: str = "decode") -> Callable[[Results], float]:
    """The rate of one engine divided by another's, both measured in the same section."""

    def ratio(results: Results) -> float:
        for section in ("speed", "quantized"):
            part = {section: results.get(section, ())}
            try:
                return speed(part, ours, num_seqs, key) / speed(part, peer, num_seqs, key)
            except KeyError:
                continue
        raise KeyError(peer)

    return ratio


def _limit(results: Results, num_seqs: int, key: str) -> float:
    return float(next(one[key] for one in results["limits"]["steps"] if one["num_seqs"] == num_seqs))


def _of_limit(num_seqs: int) -> Callable[[Results], float]:
    """The time per output token, divided by the least that the machine allows."""
    return lambda results: _limit(results, num_seqs, "decode") / speed(results, "metavox bf16", num_seqs)


def _speculation(name: str) -> Callable[[Results], float]:
    return lambda results: float(results["speculative"][name]["drafted"] / results["speculative"][name]["plain"])


TARGETS = (
    Target("bf16, 1 sequence: decode / transformers", over("metavox bf16", "transformers bf16", 1), 2.1),
    Target("bf16, 32 sequences: decode / transformers", over("metavox bf16", "transformers bf16", 32), 4.0),
    Target("bf16, 1 sequence: decode / llama.cpp", over("metavox bf16", "llama.cpp bf16", 1), 1.0),
    Target("bf16, 32 sequences: decode / llama.cpp", over("metavox bf16", "llama.cpp bf16", 32), 1.5),
    Target("bf16, 1 sequence: prefill / llama.cpp", over("metavox bf16", "llama.cpp bf16", 1, "prefill"), 1.2),
    Target("bf16, 32 sequences: prefill / llama.cpp", over("metavox bf16", "llama.cpp bf16", 32, "prefill"), 1.2),
    Target("bf16, 1 sequence: time per output token / limit", _of_limit(1), 1.11, at_most=True),
    Target("bf16, 32 sequences: time per output token / limit", _of_limit(32), 1.5, at_most=True),
    Target("int8, 1 sequence: decode / our bf16", over("metavox int8 + head", "metavox bf16", 1), 1.6),
    Target("int8, 1 sequence: decode / llama.cpp Q8_0", over("metavox int8 + head", "llama.cpp Q8_0", 1), 1.0),
    Target("int8, 32 sequences: decode / llama.cpp Q8_0", over("metavox int8 + head", "llama.cpp Q8_0", 32), 2.0),
    Target("int4, 1 sequence: decode / llama.cpp Q4_0", over("metavox int4 + head", "llama.cpp Q4_0", 1), 1.0),
    Target(
        "int4, 1 sequence: decode / llama.cpp Q4_0 --pure",
        over("metavox int4 + head", "llama.cpp Q4_0 --pure", 1),
        1.0,
    ),
    Target(
        "shared prefix: computed tokens / distinct tokens",
        lambda results: results["prefix"]["computed_tokens"] / results["prefix"]["distinct_tokens"],
        1.0,
        at_most=True,
    ),
    Target(
        "shared prefix: time / as many tokens that share nothing",
        lambda results: results["prefix"]["seconds"] / results["prefix"]["unshared_seconds"],
        1.25,
        at_most=True,
    ),
    Target("speculation on a loop: decode / without", _speculation("loop"), 1.5),
    Target(
        "engine outside the model: share of a step",
        lambda results: results["overhead"]["outside"],
        0.05,
        at_most=True,
    ),
    Target(
        "weights from the disk: load / read of the file",
        lambda results: results["load"]["cold"]["llm"] / results["load"]["cold"]["read"],
        1.25,
        at_most=True,
    ),
    Target(
        "peak memory / weights and KV cache",
        lambda results: results["load"]["peak"] / (results["load"]["weights"] + results["load"]["kv"]),
        1.25,
        at_most=True,
    ),
    Target("bundled model ready: seconds", lambda results: results["ready"]["best"], 3.0, at_most=True),
)


def read_targets(results: Results) -> list[dict[str, Any]]:
    """What the run says of every target that it measured."""
    records = (target.read(results) for target in TARGETS)
    return [record for record in records if record is not None]
