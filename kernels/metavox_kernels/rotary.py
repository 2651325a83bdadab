"""Rotary position embedding (Su et al., 2021, arXiv:2104.09864), in the half-split layout of the hub's files."""

from __future__ import annotations

import torch
from torch import Tensor

from metavox_kernels.attention import LayerCache, store_kv_naive
from metavox_kernels.rms_norm import rms_norm_naive


def rotary_naive(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (x[i], x[i + r/2]) of the first r dimensions of every head by its token's angle i.

    Args:
        x: [num_tokens, num_heads, d].
        cos: [num_tokens, r/2], the cosines of the angles, in the dtype of `x`; r is even and at most d.
        sin: [num_tokens, r/2], their sines.

    Returns:
        [num_tokens, num_heads, d] in the dtype of `x`.
    """
    half = cos.shape[-1]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin, rest), dim=-1)


def rotate_and_store_naive(
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
    """What lies between the projection of query, key and value, and attention.

    Each head's query and key are normalised if there are norms, and rotated; keys and values go to the cache.

    Args:
        qkv: [num_tokens, (num_heads + 2 * num_kv_heads) * head_dim]: the queries, the keys, the values. It may
            be changed.
        positions: [num_tokens] int64.
        cos, sin: [max_position, r/2], the tables of the angles, in the dtype of `qkv`.
        q_norm, k_norm: [head_dim], the weights of the norms, or both None.
        eps: of the norms.
        cache: the layer's, which gives num_kv_heads and head_dim.
        slot_mapping: [num_tokens] int64.

    Returns:
        [num_tokens, num_heads, head_dim], the queries.
    """
    num_kv_heads, head_dim = cache.key.shape[1:3]
    heads = qkv.reshape(len(qkv), -1, head_dim)
    query, value = heads[:, : -2 * num_kv_heads], heads[:, -num_kv_heads:]
    key = heads[:, -2 * num_kv_heads : -num_kv_heads]
    if q_norm is not None and k_norm is not None:
        query, key = rms_norm_naive(query, q_norm, eps), rms_norm_naive(key, k_norm, eps)
    cos, sin = cos[positions], sin[positions]
    store_kv_naive(rotary_naive(key, cos, sin), value, cache, slot_mapping)
    return rotary_naive(query, cos, sin)
