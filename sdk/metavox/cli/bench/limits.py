"""What the machine allows: its rates of reading memory and multiplying matrices, and what a step needs of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from metavox_kernels import pack_weight

if TYPE_CHECKING:
    from metavox.engine.runner import Runner
    from metavox_kernels import LayerCache, Quantization

SECONDS = 0.4  # for each measurement
LEAST_BYTES, MOST_BYTES = 1 << 20, 1 << 30
OUT_FEATURES, IN_FEATURES, ROWS = 4096, 1024, (32, 128, 512)


@dataclass(frozen=True)
class Machine:
    """Bytes read a second, and floating-point operations of matrix products a second; the best that was seen."""

    read_bytes_per_second: float
    flops_per_second: float

    def better(self, other: Machine) -> Machine:
        """The better rates of two measurements."""
        return Machine(
            max(self.read_bytes_per_second, other.read_bytes_per_second),
            max(self.flops_per_second, other.flops_per_second),
        )


@dataclass(frozen=True)
class Limit:
    """The least time of some work in seconds, and which rate sets it: "memory" or "compute"."""

    seconds: float
    bound: str


@dataclass(frozen=True)
class Work:
    """What a decoder without experts must read and compute.

    Attributes:
        weight_bytes: the matrices that every step reads whole.
        kv_bytes_per_token: keys and values of one token, in all layers.
        layer_parameters, head_parameters: of the layers' matrices, and of the output matrix.
        attention_width: elements of the queries of one token in one layer.
        windows: of each layer, how many tokens it sees; None for all.
    """

    weight_bytes: int
    kv_bytes_per_token: float
    layer_parameters: int
    head_parameters: int
    attention_width: int
    windows: tuple[int | None, ...]

    def decode(self, machine: Machine, num_seqs: int, context: float) -> Limit:
        """A step that adds a token to each of some sequences of `context` tokens.

        Weights are read once, keys and values of every sequence too, and products are taken meanwhile.
        """
        seen = sum(min(context, window or context) for window in self.windows)  # tokens, over the layers
        num_bytes = self.weight_bytes + num_seqs * seen * self.kv_bytes_per_token / len(self.windows)
        products = 2.0 * num_seqs * (self.layer_parameters + self.head_parameters)
        return _slower(machine, num_bytes, products + 4.0 * num_seqs * seen * self.attention_width)

    def prefill(self, machine: Machine, num_seqs: int, length: int) -> Limit:
        """The first tokens of prompts of that length; only the last of each needs the output matrix."""
        pairs = num_seqs * sum(_pairs(length, window) for window in self.windows)
        products = 2.0 * num_seqs * (length * self.layer_parameters + self.head_parameters)
        return _slower(machine, self.weight_bytes, products + 4.0 * pairs * self.attention_width)


def _pairs(length: int, window: int | None) -> float:
    """How many pairs of a token and one that it sees there are in a prompt."""
    seen = min(length, window or length)
    return seen * (seen + 1) / 2 + (length - seen) * seen


def _slower(machine: Machine, num_bytes: float, flops: float) -> Limit:
    reading, computing = num_bytes / machine.read_bytes_per_second, flops / machine.flops_per_second
    return Limit(reading, "memory") if reading >= computing else Limit(computing, "compute")


def work_of(runner: Runner) -> Work | None:
    """What a step of the loaded model needs; None for a mixture of experts, where it depends on the routing."""
    model, config = runner.model, runner.model.config
    if config.experts is not None:
        return None
    table = config.vocab_size * config.hidden_size
    tied = model.lm_head is model.embed_tokens
    return Work(
        # Of a table of embeddings that is nothing else, a step reads a few rows.
        weight_bytes=model.nbytes - (0 if tied else model.embed_tokens.nbytes),
        kv_bytes_per_token=_bytes_per_token(runner.caches),
        layer_parameters=model.num_parameters - (table if tied else 2 * table),
        head_parameters=table,
        attention_width=config.num_attention_heads * config.head_dim,
        windows=tuple(layer.window for layer in config.layers),
    )


def _bytes_per_token(caches: Sequence[LayerCache]) -> float:
    tensors = [part for one in caches for part in (one.key, one.value, one.key_scale, one.value_scale)]
    return sum(part.nbytes for part in tensors if part is not None) / (len(caches[0].key) * caches[0].block_size)


def measure_machine(
    device: torch.device, num_bytes: int, quantization: Quantization | None, dtype: torch.dtype
) -> Machine:
    """The rates that torch's threads reach.

    Args:
        device: where to measure.
        num_bytes: read at a time, as many as a step reads: what fits into the processor's caches is read faster.
            Taken between 1 MiB and 1 GiB.
        quantization, dtype: of the weights whose products are tried beside torch's own.
    """
    return Machine(_read_rate(device, num_bytes), _product_rate(device, quantization, dtype))


def _read_rate(device: torch.device, num_bytes: int) -> float:
    rows = min(max(num_bytes, LEAST_BYTES), MOST_BYTES) // (4 * IN_FEATURES)
    floats, row = torch.ones(rows, IN_FEATURES, device=device), torch.ones(IN_FEATURES, device=device)
    reads: list[Callable[[], object]] = [floats.sum, lambda: floats @ row]
    return max(_best_rate(device, floats.nbytes, read) for read in reads)


def _product_rate(device: torch.device, quantization: Quantization | None, dtype: torch.dtype) -> float:
    weight = torch.ones(OUT_FEATURES, IN_FEATURES)
    ours = pack_weight([weight], quantization, dtype, device)
    kinds = (torch.float32, torch.bfloat16)
    matrices = {kind: weight.to(device, kind).T for kind in kinds}
    activations = torch.float32 if device.type == "cpu" else dtype
    rates = []
    for rows in ROWS:
        x, flops = torch.ones(rows, IN_FEATURES, device=device), 2.0 * rows * weight.numel()
        calls: list[Callable[[], object]] = [partial(ours.linear, x.to(activations))]
        calls += [partial(torch.mm, x.to(kind), matrices[kind]) for kind in kinds]
        rates += [_best_rate(device, flops, call) for call in calls]
    return max(rates)


def _best_rate(device: torch.device, work: float, call: Callable[[], object]) -> float:
    """`work` divided by the shortest time of a call, of three at least."""
    shortest, calls, end = float("inf"), 0, time.perf_counter() + SECONDS / len(ROWS)
    call()
    while calls < 3 or time.perf_counter() < end:
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        shortest, calls = min(shortest, time.perf_counter() - began), calls + 1
    return work / shortest


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
