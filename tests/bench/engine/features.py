"""What the engine does beside the model: shared prefixes, drafted tokens, and all that is not the forward pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from metavox.models.decoder import Decoder

from .ours import MetaVox
from .speed import Prompts

SHARED, OWN = 512, 16  # tokens of a prompt
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
Interval = tuple[float, float]


def shared_prefix(folder: Path, prompts: Prompts, *, num_seqs: int, rounds: int) -> dict[str, Any]:
    """Requests that share a prefix, beside as many tokens in prompts that share nothing.

    Returns:
        `computed_tokens` of all prompts, `distinct_tokens` that there are, `seconds` to the last first token, and
        `unshared_seconds` for as many distinct tokens as prompts of `SHARED`; each the best of the rounds.
    """
    distinct = SHARED + num_seqs * OWN
    found: dict[str, Any] = {"num_seqs": num_seqs, "shared": SHARED, "own": OWN, "distinct_tokens": distinct}
    with closing(MetaVox("metavox", folder)) as engine:
        engine.generate(prompts.draw(1, SHARED), 1)
        for _ in range(rounds):
            (prefix,) = prompts.draw(1, SHARED)
            seconds, computed = _prefill(engine, [prefix + own for own in prompts.draw(num_seqs, OWN)])
            unshared, _ = _prefill(engine, prompts.draw(distinct // SHARED, SHARED))
            found["seconds"] = min(seconds, found.get("seconds", seconds))
            found["unshared_seconds"] = min(unshared, found.get("unshared_seconds", unshared))
            found["computed_tokens"] = computed
    return found


def _prefill(engine: MetaVox, prompts: list[list[int]]) -> tuple[float, int]:
    began = time.monotonic()
    outputs = engine.generate(prompts, 1)
    seconds = max(output.metrics.first_token_time for output in outputs) - began
    return seconds, sum(len(output.prompt_token_ids) - output.num_cached_tokens for output in outputs)


def speculative(
    model: Path | str, draw: Callable[[], list[list[int]]], *, output_len: int, rounds: int
) -> dict[str, Any]:
    """Greedy decoding of one prompt with and without drafts from the prompt, in turns.

    Returns:
        `plain` and `drafted`, tokens a second; `tokens_per_step` with drafts; `same`, whether both gave the same.
    """
    found: dict[str, Any] = {"plain": 0.0, "drafted": 0.0, "tokens_per_step": 0.0, "same": True}
    settings = {"max_num_seqs": 1}
    with (
        closing(MetaVox("plain", model, **settings)) as plain,
        closing(MetaVox("drafted", model, speculative_config=NGRAM, **settings)) as drafted,
    ):
        for _ in range(rounds):
            prompt = draw()
            tokens = []
            for engine in (plain, drafted):
                (output,) = engine.generate(prompt, output_len)
                (moments,) = output.metrics.token_times
                tokens.append(output.outputs[0].token_ids)
                rate = (len(moments) - 1) / (moments[-1] - moments[0])
                found[engine.name] = max(found[engine.name], rate)
            found["tokens_per_step"] = (len(moments) - 1) / (len(set(moments)) - 1)
            found["same"] = found["same"] and tokens[0] == tokens[1]
    return found


def overhead(folder: Path, prompts: Prompts, *, num_seqs: int, input_len: int, output_len: int) -> dict[str, Any]:
    """The part of a step's time in which the model does not run: planning, sampling, text.

    Returns:
        `step_seconds` on average while all sequences decode, `model_seconds` of it in the decoder's forward pass
        and its logits, and their difference as a share of the step, `outside`.
    """
    with closing(MetaVox("metavox", folder)) as engine:
        ids = prompts.draw(num_seqs, input_len)
        engine.generate(ids, 1)
        with _watch_model() as intervals:
            outputs = engine.generate(ids, output_len)
    times = [output.metrics.token_times[0] for output in outputs]
    window = max(one[0] for one in times), min(one[-1] for one in times)
    steps = len({moment for one in times for moment in one if window[0] < moment <= window[1]})
    model, whole = overlap(intervals, window), window[1] - window[0]
    return {"step_seconds": whole / steps, "model_seconds": model / steps, "outside": 1 - model / whole}


def overlap(intervals: list[Interval], window: Interval) -> float:
    """Seconds of the intervals, which do not overlap each other, that lie within the window."""
    return sum(max(0.0, min(end, window[1]) - max(start, window[0])) for start, end in intervals)


@contextmanager
def _watch_model() -> Iterator[list[Interval]]:
    """Lists when the decoder's two entrances ran, on the clock of `RequestMetrics`."""
    intervals: list[Interval] = []
    kept = {name: getattr(Decoder, name) for name in ("forward", "logits")}

    def timed(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.monotonic()
            result = inner(*args)
            intervals.append((began, time.monotonic()))
            return result

        return call

    try:
        for name, inner in kept.items():
            setattr(Decoder, name, timed(inner))
        yield intervals
    finally:
        for name, inner in kept.items():
            setattr(Decoder, name, inner)
