"""How fast the machine reads memory and multiplies matrices, and so how fast a step can be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .shape import Shape

BATCHES = (32, 128, 512)


@dataclass(frozen=True)
class Limits:
    """Bytes read a second, and floating-point operations of a matrix product a second; the best that was seen."""

    bytes_per_second: float
    flops_per_second: float

    def seconds(self, num_bytes: float, flops: float) -> float:
        """The least time for work that must read that much and compute that much, both at once."""
        return max(num_bytes / self.bytes_per_second, flops / self.flops_per_second)

    def decode_seconds(
        self, shape: Shape, num_seqs: int, context: float, layers: str = "bfloat16", head: str = "bfloat16"
    ) -> float:
        """The least time of a step that adds one token to each sequence, of `context` tokens on average.

        Every weight is read once, and the keys and values of every sequence, in 16 bits.
        """
        num_bytes = shape.weight_bytes(layers, head) + shape.kv_bytes(num_seqs * context)
        products = 2.0 * num_seqs * (shape.layer_parameters + shape.head_parameters)
        return self.seconds(num_bytes, products + shape.attention_flops(num_seqs * context))

    def prefill_seconds(self, shape: Shape, num_seqs: int, length: int) -> float:
        """The least time for the prompts; only their last tokens need the output matrix."""
        tokens = num_seqs * length
        products = 2.0 * (tokens * shape.layer_parameters + num_seqs * shape.head_parameters)
        pairs = num_seqs * length * (length + 1) / 2
        return self.seconds(shape.weight_bytes(), products + shape.attention_flops(pairs))


def measure_limits(shape: Shape, seconds: float = 3.0) -> tuple[Limits, dict[str, float]]:
    """The machine's limits with torch's threads, and every measurement that they are the best of.

    Args:
        shape: the buffer that is read is as large as its weights, so no cache holds it.
        seconds: spent on each measurement.
    """
    reads = {f"read {name} GB/s": rate / 1e9 for name, rate in _reads(int(shape.weight_bytes()), seconds)}
    products = {f"{name} GFLOP/s": rate / 1e9 for name, rate in _products(shape, seconds)}
    return Limits(max(reads.values()) * 1e9, max(products.values()) * 1e9), {**reads, **products}


def best_rate(work: float, call: Callable[[], object], seconds: float) -> float:
    """`work` divided by the shortest time of a call; as many calls as fit, five at least."""
    call()
    shortest, calls, end = float("inf"), 0, time.perf_counter() + seconds
    while calls < 5 or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - began)
        calls += 1
    return work / shortest


def _reads(num_bytes: int, seconds: float) -> list[tuple[str, float]]:
    columns = 4096
    floats = torch.ones(num_bytes // (4 * columns), columns)
    halves = floats.view(torch.bfloat16)
    row, short_row = torch.ones(columns), torch.ones(2 * columns, dtype=torch.bfloat16)
    calls: dict[str, Callable[[], Tensor]] = {
        "sum float32": floats.sum,
        "matrix-vector float32": lambda: floats @ row,
        "matrix-vector bfloat16": lambda: halves @ short_row,
    }
    return [(name, best_rate(floats.nbytes, call, seconds)) for name, call in calls.items()]


def _products(shape: Shape, seconds: float) -> list[tuple[str, float]]:
    from metavox_kernels import pack_weight

    found = []
    out_features, in_features = 2 * shape.intermediate_size, shape.hidden_size
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        weight = torch.randn(out_features, in_features).to(dtype)
        packed = pack_weight([weight], None, dtype, torch.device("cpu"))
        for rows in BATCHES:
            x = torch.randn(rows, in_features)
            flops, same = 2.0 * rows * weight.numel(), x.to(dtype)
            share = seconds / len(BATCHES)
            plain = best_rate(flops, lambda x=same, w=weight: x @ w.T, share)  # type: ignore[misc]
            ours = best_rate(flops, lambda x=x, w=packed: w.linear(x), share)  # type: ignore[misc]
            found += [(f"torch {name} x{rows}", plain), (f"metavox {name} x{rows}", ours)]
    return found
