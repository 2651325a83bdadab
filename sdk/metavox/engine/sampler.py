"""Chooses the next token of each sequence by its own parameters and its own random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from metavox.engine.sequence import Sequence
from metavox.errors import NonFiniteLogits
from metavox_kernels import sample


@torch.inference_mode()
def sample_tokens(logits: Tensor, sequences: list[Sequence]) -> list[int]:
    """One token for each sequence.

    Args:
        logits: [num_seqs, vocab_size] in the order of `sequences`; changed in place where tokens are banned.
        sequences: those to sample for. Each one that is not greedy draws one random number.

    Raises:
        NonFiniteLogits: there is nothing to choose from.
    """
    if not bool(logits.isfinite().all()):
        dtype = str(logits.dtype).removeprefix("torch.")
        advice = "use dtype='bfloat16' or 'float32'" if dtype == "float16" else "its weights may be damaged"
        raise NonFiniteLogits(f"The model produced NaN or infinity in {dtype}; {advice}.")
    for row, sequence in zip(logits, sequences, strict=True):
        banned = sequence.banned_token_ids
        if banned:
            row[torch.tensor(sorted(banned), device=row.device)] = float("-inf")
    params = [sequence.params for sequence in sequences]
    uniform = [sequence.draw() if sequence.params.temperature else 0.0 for sequence in sequences]
    tokens = sample(
        logits,
        temperature=_column([p.temperature for p in params], logits),
        top_k=_column([p.top_k for p in params], logits, torch.int64),
        top_p=_column([p.top_p for p in params], logits),
        uniform=_column(uniform, logits),
    )
    return [int(token) for token in tokens.tolist()]


def _column(values: list[int] | list[float], like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=like.device)
