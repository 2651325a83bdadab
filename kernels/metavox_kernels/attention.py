"""Attention of a flat batch of tokens over a paged KV cache (Kwon et al., 2023, arXiv:2309.06180)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from metavox_kernels.native.paged import CLayerCache, CPagedBatch, layer_cache, paged_batch

SCORE_BYTES = 64 << 20


@dataclass(frozen=True)
class LayerCache:
    """One layer's keys and values, in pages.

    Attributes:
        key: [num_blocks, num_kv_heads, head_dim, block_size], so that the keys of a block lie side by side.
        value: [num_blocks, num_kv_heads, block_size, head_dim].
        key_scale, value_scale: [num_blocks, num_kv_heads, block_size] float32, where the cache is int8:
            what a token's integers of one head are multiplied by. None otherwise.
    """

    key: Tensor
    value: Tensor
    key_scale: Tensor | None = None
    value_scale: Tensor | None = None

    @property
    def block_size(self) -> int:
        """Tokens in a block."""
        return self.key.shape[3]

    @cached_property
    def c_struct(self) -> CLayerCache | None:
        """The cache as C sees it; None on a device, or in a layout, that C does not read. Made once, for speed."""
        return layer_cache(self.key, self.value, self.key_scale, self.value_scale)


@dataclass(frozen=True)
class PagedBatch:
    """Where the tokens of one step lie: several sequences, end to end, of any mixture of lengths.

    Attributes:
        query_start: [num_seqs + 1] int32; the tokens of sequence s are query_start[s] : query_start[s + 1].
        context_lens: [num_seqs] int32, the tokens of s in the cache after this step, its new ones included.
        block_tables: [num_seqs, max_blocks] int32, the blocks of s in order; the padding is never read.
        slot_mapping: [num_tokens] int64, where a token's key and value are stored: block * block_size + offset.
    """

    query_start: Tensor
    context_lens: Tensor
    block_tables: Tensor
    slot_mapping: Tensor

    @cached_property
    def c_struct(self) -> CPagedBatch | None:
        """The batch as C sees it; see `LayerCache.c_struct`."""
        return paged_batch(self.query_start, self.context_lens, self.block_tables)


def store_kv_naive(key: Tensor, value: Tensor, cache: LayerCache, slot_mapping: Tensor) -> None:
    """Write the new keys and values into their slots of the cache, in place.

    Args:
        key, value: [num_tokens, num_kv_heads, head_dim].
        cache: where to. An int8 cache keeps round(x / s) with s = max|x| / 127 of each token and head.
        slot_mapping: [num_tokens] int64.
    """
    blocks, offsets = slot_mapping // cache.block_size, slot_mapping % cache.block_size
    if cache.key_scale is not None and cache.value_scale is not None:
        key, cache.key_scale[blocks, :, offsets] = _quantized(key)
        value, cache.value_scale[blocks, :, offsets] = _quantized(value)
    cache.key[blocks, :, :, offsets] = key.to(cache.key.dtype)
    cache.value[blocks, :, offsets] = value.to(cache.value.dtype)


def _quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = x.float().abs().amax(-1) / 127
    return (x.float() / scale.clamp_min(1e-30).unsqueeze(-1)).round(), scale


def paged_attention_naive(
    query: Tensor,
    cache: LayerCache,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention of every sequence's new tokens to all of its tokens in the cache.

    The new keys and values must already be stored. Query heads share key heads in groups, in order
    (grouped-query attention: Ainslie et al., 2023, arXiv:2305.13245).

    Args:
        query: [num_tokens, num_heads, head_dim]; the cache's num_kv_heads divides num_heads.
        cache: the layer's keys and values.
        batch: where the tokens lie.
        scale: factor on the scores, head_dim ** -0.5 as a rule.
        window: a token sees itself and the window - 1 tokens before it (Beltagy et al., 2020,
            arXiv:2004.05150); None sees all before it.
        softcap: scores s become softcap * tanh(s / softcap) (Gemma 2, 2024, arXiv:2408.00118).

    Returns:
        [num_tokens, num_heads * head_dim] in the dtype of `query`. Scores and softmax are float32, and at most
        `SCORE_BYTES` of scores are there at a time, or one query's.
    """
    starts, contexts = batch.query_start.tolist(), batch.context_lens.tolist()
    outputs = []
    for s, context in enumerate(contexts):
        blocks = batch.block_tables[s, : -(-context // cache.block_size)].long()
        key, value = _gather(cache, blocks, context)
        outputs.append(_attend(query[starts[s] : starts[s + 1]], key, value, scale, window, softcap))
    return torch.cat(outputs).flatten(1)


def _gather(cache: LayerCache, blocks: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """The first `context` keys and values of the blocks, each [context, num_kv_heads, head_dim] float32."""
    key = cache.key[blocks].float().permute(0, 3, 1, 2)
    value = cache.value[blocks].float().transpose(1, 2)
    if cache.key_scale is not None and cache.value_scale is not None:
        key = key * cache.key_scale[blocks].transpose(1, 2).unsqueeze(-1)
        value = value * cache.value_scale[blocks].transpose(1, 2).unsqueeze(-1)
    return key.flatten(0, 1)[:context], value.flatten(0, 1)[:context]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """One sequence: the q rows of `query` are the last q of the `context` rows of `key` and `value`."""
    q, num_heads, _ = query.shape
    context = len(key)
    rows = max(1, SCORE_BYTES // (4 * num_heads * context))
    outputs = []
    for start in range(0, q, rows):
        part = query[start : start + rows]
        seen = context - q + start + len(part)  # the tokens after these are in no one's past
        outputs.append(_attend_rows(part, key[:seen], value[:seen], scale, window, softcap))
    return torch.cat(outputs)


def _attend_rows(
    query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """The same, all scores at once. They are turned into weights in place."""
    q, num_heads, d = query.shape
    context, num_kv_heads, _ = key.shape
    grouped = (query.float() * scale).view(q, num_kv_heads, -1, d).permute(1, 2, 0, 3)  # [h, g, q, d]
    rows = grouped.flatten(1, 2)
    weights = rows @ key.permute(1, 2, 0)  # [h, g * q, c]
    if softcap is not None:
        weights.div_(softcap).tanh_().mul_(softcap)
    weights.view(*grouped.shape[:3], context).masked_fill_(_hidden(q, context, window, query.device), float("-inf"))
    weights.sub_(weights.amax(-1, keepdim=True)).exp_()
    mixed = (weights @ value.transpose(0, 1)) / weights.sum(-1, keepdim=True)
    return mixed.view(grouped.shape).permute(2, 0, 1, 3).reshape(q, num_heads, d).to(query.dtype)


def _hidden(q: int, context: int, window: int | None, device: torch.device) -> Tensor:
    """[q, context] bool: which of the tokens the last q may not look at."""
    everything = torch.ones(q, context, dtype=torch.bool, device=device)
    future = everything.triu(context - q + 1)
    return future if window is None else future | everything.tril(context - q - window)
