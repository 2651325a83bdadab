"""Paged attention in C: attention.c."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metavox_kernels.native.build import load
from metavox_kernels.native.paged import CLayerCache, CPagedBatch

if TYPE_CHECKING:
    from metavox_kernels.attention import LayerCache, PagedBatch


def paged_attention(
    query: Tensor, cache: LayerCache, batch: PagedBatch, scale: float, window: int | None, softcap: float | None
) -> Tensor | None:
    """See `metavox_kernels.attention.paged_attention_naive`; None where it has to be used.

    A token's result has the same bits whatever the batch, the chunks of its prompt, and the number of threads.

    Raises:
        MemoryError: there is no room for the scores of a tile of queries.
    """
    compiled, layer, step = _compiled(), cache.c_struct, batch.c_struct
    if compiled is None or layer is None or step is None:
        return None
    if query.dtype is not torch.float32 or not query.is_cpu or not query.is_contiguous():
        return None
    num_tokens, num_heads, head_dim = query.shape
    if head_dim != layer.head_dim or num_heads % layer.num_kv_heads:
        return None
    out = query.new_empty(num_tokens, num_heads * head_dim)
    done = compiled(
        query.data_ptr(), layer, step, num_heads, scale, window or 0, softcap or 0.0, out.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    if not done:
        raise MemoryError("no memory for the scores of paged attention; lower max_num_batched_tokens")
    return out


@functools.cache
def _compiled() -> Callable[..., int] | None:
    library = load("attention")
    if library is None:
        return None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    library.paged_attention.argtypes = (
        pointer, ctypes.POINTER(CLayerCache), ctypes.POINTER(CPagedBatch), count, ctypes.c_double, count,
        ctypes.c_double, pointer, ctypes.c_int,
    )  # fmt: skip
    library.paged_attention.restype = ctypes.c_int
    function: Callable[..., int] = library.paged_attention
    return function
