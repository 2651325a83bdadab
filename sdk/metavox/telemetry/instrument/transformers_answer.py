"""What ``generate`` gave back: how many tokens, and why it ended. The tokens themselves are not kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """The answers to one prompt.

    Attributes:
        tokens: Of all of them, the ends included; None when they cannot be told from what fills up a row.
        longest: Columns that the call added, whichever prompt took the longest.
        reasons: Of each: "stop" where an end token stands, else "length"; () when it may have been anything else.
        memory_bytes: The peak that PyTorch allocated on a CUDA device; None where it was not in this call.
    """

    tokens: int | None
    longest: int | None
    reasons: tuple[str, ...]
    memory_bytes: int | None


def read_answer(
    model: Any,
    result: Any,
    eos: tuple[int, ...],
    prompt_length: int,
    num_prompts: int,
    *,
    has_other_ends: bool = False,
    peak_before: int | None = None,
) -> list[Answer]:
    """The answers to each prompt.

    Args:
        model: That gave them.
        result: A tensor of token ids, shape (prompts x answers, tokens), or an output that has it as `sequences`.
        eos: Ids that end an answer.
        prompt_length: How many columns are the prompt's.
        num_prompts: How many prompts there were.
        has_other_ends: Whether anything else than an end token or the length may have ended an answer.
        peak_before: What `peak_memory` gave before the call.
    """
    peak = peak_memory(model)
    memory = peak if peak is not None and peak_before is not None and peak > peak_before else None
    sequences = getattr(result, "sequences", result)
    if getattr(sequences, "ndim", 0) != 2 or sequences.shape[0] % num_prompts:
        return [Answer(None, None, (), memory)] * num_prompts
    longest = sequences.shape[1] - prompt_length
    if has_other_ends and sequences.shape[0] > 1:  # one that has ended is filled up to the longest, with whatever
        return [Answer(None, longest, (), memory)] * num_prompts
    rows = [_row(row, eos) for row in sequences[:, prompt_length:].tolist()]
    each = len(rows) // num_prompts
    return [
        Answer(sum(length for length, _ in part), longest, _reasons(part, has_other_ends), memory)
        for part in (rows[at : at + each] for at in range(0, len(rows), each))
    ]


def _reasons(rows: list[tuple[int, str]], has_other_ends: bool) -> tuple[str, ...]:
    reasons = tuple(reason for _, reason in rows)
    return () if has_other_ends and "length" in reasons else reasons


def _row(tokens: list[int], eos: tuple[int, ...]) -> tuple[int, str]:
    """Length and reason; after its end a row is filled up, whatever with."""
    ends = [tokens.index(end) + 1 for end in eos if end in tokens]
    return (min(ends), "stop") if ends else (len(tokens), "length")


def peak_memory(model: Any) -> int | None:
    """Bytes that PyTorch had allocated at most on the model's one CUDA device since the program, or someone, began.

    Where a call did not raise it, the peak was of something else, such as training, and says nothing of the call.
    """
    if model.device.type != "cuda" or len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        return None
    import torch

    return int(torch.cuda.max_memory_allocated(model.device))
