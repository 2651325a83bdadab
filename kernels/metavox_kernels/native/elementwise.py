"""The small ops in C: elementwise.c. Each returns None where its naive twin has to be used."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metavox_kernels.native.build import load
from metavox_kernels.native.paged import CLayerCache

if TYPE_CHECKING:
    from metavox_kernels.attention import LayerCache


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor | None:
    """See `metavox_kernels.rms_norm.rms_norm_naive`."""
    library = _library()
    d = weight.numel()
    if library is None or x.shape[-1] != d or not (_fits(x) and _fits(weight)):
        return None
    out = torch.empty_like(x)
    library.rms_norm(
        x.data_ptr(), None, weight.data_ptr(), x.numel() // d, d, eps, out.data_ptr(), torch.get_num_threads()
    )
    return out


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> Tensor | None:
    """See `metavox_kernels.rms_norm.add_rms_norm_naive`."""
    library = _library()
    d = weight.numel()
    if library is None or x.shape[-1] != d or x.shape != residual.shape:
        return None
    if not (_fits(x) and _fits(residual) and _fits(weight)):
        return None
    out = torch.empty_like(x)
    library.rms_norm(
        x.data_ptr(), residual.data_ptr(), weight.data_ptr(), x.numel() // d, d, eps, out.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return out


def silu_and_mul(gate_up: Tensor) -> Tensor | None:
    """See `metavox_kernels.gated.silu_and_mul_naive`."""
    return _gate("silu_and_mul", gate_up)


def gelu_tanh_and_mul(gate_up: Tensor) -> Tensor | None:
    """See `metavox_kernels.gated.gelu_tanh_and_mul_naive`."""
    return _gate("gelu_tanh_and_mul", gate_up)


def _gate(name: str, gate_up: Tensor) -> Tensor | None:
    library = _library()
    if library is None or not _fits(gate_up):
        return None
    rows, width = gate_up.shape
    d = width // 2
    out = gate_up.new_empty(rows, d)
    getattr(library, name)(gate_up.data_ptr(), rows, d, out.data_ptr(), torch.get_num_threads())
    return out


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
) -> Tensor | None:
    """See `metavox_kernels.rotary.rotate_and_store_naive`."""
    library, layer = _library(), cache.c_struct
    if library is None or layer is None or not (_fits(qkv) and _fits(cos) and _fits(sin)):
        return None
    if not (positions.dtype is slot_mapping.dtype is torch.int64 and positions.is_contiguous()):
        return None
    norms = (q_norm, k_norm)
    if not slot_mapping.is_contiguous() or not all(norm is None or _fits(norm) for norm in norms):
        return None
    head_dim = layer.head_dim
    num_tokens, width = qkv.shape
    num_heads = width // head_dim - 2 * layer.num_kv_heads
    query = qkv.new_empty(num_tokens, num_heads, head_dim)
    library.rotate_and_store(
        qkv.data_ptr(), positions.data_ptr(), cos.data_ptr(), sin.data_ptr(),
        *(None if norm is None else norm.data_ptr() for norm in norms),
        eps, layer, slot_mapping.data_ptr(), num_tokens, num_heads, cos.shape[1], query.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return query


def _fits(x: Tensor) -> bool:
    return x.dtype is torch.float32 and x.is_cpu and x.is_contiguous()


@functools.cache
def _library() -> ctypes.CDLL | None:
    library = load("elementwise")
    if library is None:
        return None
    pointer, count, number, threads = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_int
    gate = (pointer, count, count, pointer, threads)
    arguments = {
        "rms_norm": (pointer, pointer, pointer, count, count, number, pointer, threads),
        "silu_and_mul": gate,
        "gelu_tanh_and_mul": gate,
        "rotate_and_store": (
            *(pointer,) * 6, number, ctypes.POINTER(CLayerCache), pointer, count, count, count, pointer, threads,
        ),
    }  # fmt: skip
    for name, types in arguments.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, None
    return library
