"""A layer's cache and a step's batch as the structs of paged.h."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3}


class CLayerCache(ctypes.Structure):
    """`LayerCache` of paged.h."""

    _fields_ = (
        ("key", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("key_scale", ctypes.c_void_p),
        ("value_scale", ctypes.c_void_p),
        ("num_kv_heads", ctypes.c_int64),
        ("head_dim", ctypes.c_int64),
        ("block_size", ctypes.c_int64),
        ("dtype", ctypes.c_int64),
        ("item_size", ctypes.c_int64),
    )


class CPagedBatch(ctypes.Structure):
    """`PagedBatch` of paged.h."""

    _fields_ = (
        ("query_start", ctypes.c_void_p),
        ("context_lens", ctypes.c_void_p),
        ("block_tables", ctypes.c_void_p),
        ("table_stride", ctypes.c_int64),
        ("num_seqs", ctypes.c_int64),
    )


def layer_cache(
    key: Tensor, value: Tensor, key_scale: Tensor | None, value_scale: Tensor | None
) -> CLayerCache | None:
    """The struct of a `metavox_kernels.attention.LayerCache`, or None if C cannot read it.

    It holds addresses: it is good for as long as the tensors are.
    """
    scales = [scale for scale in (key_scale, value_scale) if scale is not None]
    pages = all(_is_plain(x, key.dtype) for x in (key, value)) and key.dtype in DTYPES
    if not pages or not all(_is_plain(x, torch.float32) for x in scales):
        return None
    if len(scales) != (2 if key.dtype == torch.int8 else 0):
        return None
    addresses = [x.data_ptr() for x in (key, value, *scales)] + [None] * (2 - len(scales))
    return CLayerCache(*addresses, *key.shape[1:], DTYPES[key.dtype], key.element_size())


def paged_batch(query_start: Tensor, context_lens: Tensor, block_tables: Tensor) -> CPagedBatch | None:
    """The struct of a `metavox_kernels.attention.PagedBatch`; see `layer_cache`."""
    if not all(_is_plain(x, torch.int32) for x in (query_start, context_lens)):
        return None
    if not block_tables.is_cpu or block_tables.dtype != torch.int32 or block_tables.stride(1) != 1:
        return None
    addresses = (x.data_ptr() for x in (query_start, context_lens, block_tables))
    return CPagedBatch(*addresses, block_tables.stride(0), len(context_lens))


def _is_plain(x: Tensor, dtype: torch.dtype) -> bool:
    return x.is_cpu and x.dtype == dtype and x.is_contiguous()
