"""Attention of a flat batch of tokens over a paged KV cache (Kwon et al., 2023, arXiv:2309.06180)."""

from dataclasses import dataclass

import torch
from torch import Tensor

SCORE_BYTES = 64 << 20


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


def store_kv_naive(
    key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor
) -> None:
    """Write the new keys and values into their slots of the cache, in place.

    Args:
        key, value: [num_tokens, num_kv_heads, d].
        key_cache, value_cache: [num_blocks, block_size, num_kv_heads, d], contiguous.
        slot_mapping: [num_tokens] int64.
    """
    key_cache.flatten(0, 1).index_copy_(0, slot_mapping, key)
    value_cache.flatten(0, 1).index_copy_(0, slot_mapping, value)


def paged_attention_naive(
    query: Tensor, key_cache: Tensor, value_cache: Tensor, batch: PagedBatch, scale: float
) -> Tensor:
    """Causal attention of every sequence's new tokens to all of its tokens in the cache.

    The new keys and values must already be stored. Query heads share key heads in groups, in order
    (grouped-query attention: Ainslie et al., 2023, arXiv:2305.13245).

    Args:
        query: [num_tokens, num_heads, d].
        key_cache, value_cache: [num_blocks, block_size, num_kv_heads, d]; num_kv_heads divides num_heads.
        batch: where the tokens lie.
        scale: factor on the scores, d ** -0.5 as a rule.

    Returns:
        [num_tokens, num_heads, d] in the dtype of `query`. Scores and softmax are float32, and at most
        `SCORE_BYTES` of scores are there at a time, or one query's.
    """
    block_size = key_cache.shape[1]
    starts, contexts = batch.query_start.tolist(), batch.context_lens.tolist()
    outputs = []
    for s, context in enumerate(contexts):
        blocks = batch.block_tables[s, : -(-context // block_size)].long()
        key = key_cache[blocks].flatten(0, 1)[:context]
        value = value_cache[blocks].flatten(0, 1)[:context]
        outputs.append(_attend(query[starts[s] : starts[s + 1]], key, value, scale))
    return torch.cat(outputs)


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """One sequence: the q rows of `query` are the last q of the `context` rows of `key` and `value`."""
    q, num_heads, _ = query.shape
    context = len(key)
    key, value = key.float(), value.float()
    rows = max(1, SCORE_BYTES // (4 * num_heads * context))
    outputs = []
    for start in range(0, q, rows):
        part = query[start : start + rows]
        seen = context - q + start + len(part)  # the tokens after these are in no one's past
        outputs.append(_attend_rows(part, key[:seen], value[:seen], scale))
    return torch.cat(outputs)


def _attend_rows(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The same, all scores at once. They are turned into weights in place."""
    q, num_heads, d = query.shape
    context, num_kv_heads, _ = key.shape
    grouped = (query.float() * scale).view(q, num_kv_heads, -1, d).permute(1, 2, 0, 3)  # [h, g, q, d]
    rows = grouped.flatten(1, 2)
    weights = rows @ key.permute(1, 2, 0)  # [h, g * q, c]
    future = torch.ones(q, context, dtype=torch.bool, device=query.device).triu(context - q + 1)
    weights.view(*grouped.shape[:3], context).masked_fill_(future, float("-inf"))
    weights.sub_(weights.amax(-1, keepdim=True)).exp_()
    mixed = (weights @ value.transpose(0, 1)) / weights.sum(-1, keepdim=True)
    return mixed.view(grouped.shape).permute(2, 0, 1, 3).reshape(q, num_heads, d).to(query.dtype)
