"""The seam: callers take an op from here, and here is decided which version of it runs.

On the CPU that is compiled C, wherever the arguments' dtypes and layout are those it was written for and there is
a compiler; else the naive twin, which runs on every device torch knows.
"""

import torch
from torch import Tensor

from metavox_kernels.attention import LayerCache, PagedBatch, paged_attention_naive
from metavox_kernels.gated import gelu_tanh_and_mul_naive, silu_and_mul_naive
from metavox_kernels.native import attention, elementwise
from metavox_kernels.native.build import load_all
from metavox_kernels.native.linear import pack_weight
from metavox_kernels.native.sample import greedy, mask_logits, penalize, sample, token_logprobs
from metavox_kernels.rms_norm import add_rms_norm_naive, rms_norm_naive
from metavox_kernels.rotary import rotate_and_store_naive

__all__ = [
    "add_rms_norm",
    "gelu_tanh_and_mul",
    "greedy",
    "mask_logits",
    "pack_weight",
    "paged_attention",
    "penalize",
    "prepare_device",
    "rms_norm",
    "rotate_and_store",
    "sample",
    "silu_and_mul",
    "token_logprobs",
]


def prepare_device(device: torch.device) -> None:
    """Make ready what the operations need there: on a CPU, a few seconds of compiling the first time of all."""
    if device.type == "cpu":
        load_all()


def paged_attention(
    query: Tensor,
    cache: LayerCache,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """See `paged_attention_naive`."""
    out = attention.paged_attention(query, cache, batch, scale, window, softcap)
    return paged_attention_naive(query, cache, batch, scale, window, softcap) if out is None else out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """See `rms_norm_naive`."""
    out = elementwise.rms_norm(x, weight, eps)
    return rms_norm_naive(x, weight, eps) if out is None else out


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> Tensor:
    """See `add_rms_norm_naive`."""
    out = elementwise.add_rms_norm(x, residual, weight, eps)
    return add_rms_norm_naive(x, residual, weight, eps) if out is None else out


def silu_and_mul(gate_up: Tensor) -> Tensor:
    """See `silu_and_mul_naive`."""
    out = elementwise.silu_and_mul(gate_up)
    return silu_and_mul_naive(gate_up) if out is None else out


def gelu_tanh_and_mul(gate_up: Tensor) -> Tensor:
    """See `gelu_tanh_and_mul_naive`."""
    out = elementwise.gelu_tanh_and_mul(gate_up)
    return gelu_tanh_and_mul_naive(gate_up) if out is None else out


def rotate_and_store(
    qkv: Tensor,
    positions: Tensor,
    cos: Tensor,
    sin: Tensor,
    q_norm: Tensor | None,
    k_norm: Tensor | None,
    eps: float,
    cache: LayerCache,
    slot_mapping: Tensor,
) -> Tensor:
    """See `rotate_and_store_naive`."""
    arguments = (qkv, positions, cos, sin, q_norm, k_norm, eps, cache, slot_mapping)
    out = elementwise.rotate_and_store(*arguments)
    return rotate_and_store_naive(*arguments) if out is None else out
