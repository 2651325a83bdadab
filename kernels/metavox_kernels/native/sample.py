"""The choice of tokens on a CPU, by ``sample.c``; where that cannot be used, its twins in ``..sample``.

Both give the same tokens. The arguments and results are those of the twins.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from metavox_kernels.native.build import load
from metavox_kernels.sample import (
    greedy_naive,
    mask_logits_naive,
    penalize_naive,
    sample_naive,
    token_logprobs_naive,
)

# Some 200 µs of work: beside a busy core, a second thread for less costs more than it does.
READ_BY_A_THREAD, WEIGHED_BY_A_THREAD = 1 << 20, 1 << 18
_INT, _THREADS, _POINTER = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p


def greedy(logits: Tensor) -> Tensor:
    """See `greedy_naive`."""
    if not _is_usable(logits):
        return greedy_naive(logits)
    rows, vocab = logits.shape
    tokens = torch.empty(rows, dtype=torch.int64)
    _check(_library().metavox_greedy(logits.data_ptr(), rows, vocab, tokens.data_ptr(), _threads(rows, vocab)))
    return tokens


def sample(
    logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, uniform: Tensor
) -> Tensor:
    """See `sample_naive`."""
    if not _is_usable(logits):
        return sample_naive(logits, temperature, top_k, top_p, min_p, uniform)
    rows, vocab = logits.shape
    columns = [
        _column(temperature, torch.float32, rows),
        _column(top_k, torch.int64, rows),
        _column(top_p, torch.float64, rows),
        _column(min_p, torch.float32, rows),
        _column(uniform, torch.float64, rows),
        torch.empty(rows, dtype=torch.int64),
    ]
    pointers = [column.data_ptr() for column in columns]
    threads = _threads(rows, vocab, WEIGHED_BY_A_THREAD)
    _check(_library().metavox_sample(logits.data_ptr(), rows, vocab, *pointers, threads))
    return columns[-1]


def token_logprobs(logits: Tensor, tokens: Tensor, num_top: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `token_logprobs_naive`."""
    if not _is_usable(logits):
        return token_logprobs_naive(logits, tokens, num_top)
    rows, vocab = logits.shape
    if num_top > vocab:
        raise ValueError(f"the {num_top} likeliest of {vocab} tokens are asked for")
    chosen = _indices(tokens.clamp_min(0), rows, vocab)
    results = (
        torch.empty(rows),
        torch.empty(rows, dtype=torch.int64),
        torch.empty(rows, num_top, dtype=torch.int64),
        torch.empty(rows, num_top),
    )
    pointers = [result.data_ptr() for result in results]
    threads = _threads(rows, vocab, WEIGHED_BY_A_THREAD)
    _check(
        _library().metavox_token_logprobs(
            logits.data_ptr(), rows, vocab, chosen.data_ptr(), num_top, *pointers, threads
        )
    )
    return results


def mask_logits(logits: Tensor, rows: Tensor, allowed: Tensor) -> None:
    """See `mask_logits_naive`."""
    if not _is_usable(logits):
        mask_logits_naive(logits, rows, allowed)
        return
    vocab, number = logits.shape[-1], len(rows)
    places = _indices(rows, number, len(logits))
    words = allowed.to(torch.int32).contiguous()
    if words.shape != (number, -(-vocab // 32)):
        raise ValueError(f"{number} masks for {vocab} tokens cannot be {list(words.shape)}")
    _library().metavox_mask_logits(
        logits.data_ptr(), vocab, places.data_ptr(), number, words.data_ptr(), _threads(number, vocab)
    )


def penalize(
    logits: Tensor,
    rows: Tensor,
    history: Tensor,
    slots: Tensor,
    repetition: Tensor,
    presence: Tensor,
    frequency: Tensor,
) -> None:
    """See `penalize_naive`."""
    if not (_is_usable(logits) and history.is_contiguous() and history.dtype == torch.int32):
        penalize_naive(logits, rows, history, slots, repetition, presence, frequency)
        return
    vocab, number = logits.shape[-1], len(rows)
    if history.shape[1] != vocab:
        raise ValueError(f"a history of {history.shape[1]} tokens does not fit logits of {vocab}")
    places, slots = _indices(rows, number, len(logits)), _indices(slots, number, len(history))
    factors = [_column(factor, torch.float32, number) for factor in (repetition, presence, frequency)]
    pointers = [tensor.data_ptr() for tensor in (places, history, slots, *factors)]
    _library().metavox_penalize(logits.data_ptr(), vocab, number, *pointers, _threads(number, vocab))


@cache
def _loaded() -> ctypes.CDLL | None:
    found = load("sample")
    if found is None:
        return None
    head: list[Any] = [_POINTER, _INT, _INT]
    tail = [_THREADS]
    found.metavox_greedy.argtypes = [*head, _POINTER, *tail]
    found.metavox_sample.argtypes = [*head, *[_POINTER] * 6, *tail]
    found.metavox_token_logprobs.argtypes = [*head, _POINTER, _INT, *[_POINTER] * 4, *tail]
    found.metavox_mask_logits.argtypes = [_POINTER, _INT, _POINTER, _INT, _POINTER, *tail]
    found.metavox_penalize.argtypes = [*head, *[_POINTER] * 6, *tail]
    for function in (found.metavox_mask_logits, found.metavox_penalize):
        function.restype = None
    return found


def _library() -> ctypes.CDLL:
    found = _loaded()
    assert found is not None, "_is_usable says whether there is one"
    return found


def _is_usable(logits: Tensor) -> bool:
    on_cpu = logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.is_contiguous()
    return on_cpu and logits.numel() > 0 and _loaded() is not None


def _column(tensor: Tensor, dtype: torch.dtype, rows: int) -> Tensor:
    """As C reads it; a tensor that already is comes back itself."""
    if tensor.shape != (rows,):
        raise ValueError(f"a column for {rows} rows cannot be {list(tensor.shape)}")
    return tensor.to(dtype).contiguous()


def _indices(tensor: Tensor, number: int, below: int) -> Tensor:
    indices = _column(tensor, torch.int64, number)
    if number and not 0 <= int(indices.min()) <= int(indices.max()) < below:
        raise IndexError(f"places are from 0 to {below - 1}; {indices.tolist()[:8]} was asked for")
    return indices


def _threads(rows: int, vocab: int, of_a_thread: int = READ_BY_A_THREAD) -> int:
    return max(1, min(torch.get_num_threads(), rows, rows * vocab // of_a_thread))


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("no memory to sample from a row of logits")
