"""Paged attention against attention over whole sequences, which knows no pages."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from metavox_kernels import LayerCache, PagedBatch, paged_attention
from metavox_kernels.attention import paged_attention_naive, store_kv_naive
from metavox_kernels.native import attention as native
from metavox_kernels.native.build import load, reason

BLOCK = 4
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8]
LENGTHS = [(7, 7), (1, 9), (130, 200), (1, 1), (1, 300), (3, 64), (1, 65)]
compiled = pytest.mark.skipif(load("attention") is None, reason=str(reason("attention")))


def make_batch(lengths: list[tuple[int, int]], num_blocks: int, block: int = BLOCK) -> PagedBatch:
    """(query, context) lengths; blocks are handed out in a shuffled order, the tables padded with -1."""
    order = torch.randperm(num_blocks, generator=torch.Generator().manual_seed(1)).tolist()
    tables, slots, starts = [], [], [0]
    for query, context in lengths:
        table = [order.pop() for _ in range(-(-context // block))]
        tables.append(table)
        slots += [table[at // block] * block + at % block for at in range(context - query, context)]
        starts.append(starts[-1] + query)
    width = max(map(len, tables)) + 1
    return PagedBatch(
        query_start=torch.tensor(starts, dtype=torch.int32),
        context_lens=torch.tensor([context for _, context in lengths], dtype=torch.int32),
        block_tables=torch.tensor([t + [-1] * (width - len(t)) for t in tables], dtype=torch.int32),
        slot_mapping=torch.tensor(slots),
    )


def make_cache(
    num_blocks: int, kv_heads: int, d: int, dtype: torch.dtype = torch.float32, block: int = BLOCK
) -> LayerCache:
    """Poisoned: whatever is read before it is stored makes the result NaN."""
    key = torch.full((num_blocks, kv_heads, d, block), 127 if dtype == torch.int8 else math.nan, dtype=dtype)
    value = key.transpose(2, 3).contiguous()
    if dtype != torch.int8:
        return LayerCache(key, value)
    scales = [torch.full((num_blocks, kv_heads, block), math.nan) for _ in range(2)]
    return LayerCache(key, value, *scales)


def attention_without_pages(query, key, value, scale, window=None, softcap=None):
    """float64, one sequence: [q, heads, d] of the last tokens and [context, kv_heads, d] of all."""
    q, context = len(query), len(key)
    key, value = (x.double().repeat_interleave(query.shape[1] // key.shape[1], dim=1) for x in (key, value))
    scores = torch.einsum("qhd,chd->hqc", query.double(), key) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    position, past = torch.arange(context - q, context).unsqueeze(1), torch.arange(context)
    seen = (past <= position) & (past > position - (window or context))
    return torch.einsum("hqc,chd->qhd", scores.masked_fill(~seen, -math.inf).softmax(-1), value).flatten(1)


def run(lengths, heads, kv_heads, d=8, window=None, softcap=None):
    """(paged, reference) outputs for sequences whose earlier tokens were stored in an earlier step."""
    torch.manual_seed(0)
    num_blocks = 40
    cache = make_cache(num_blocks, kv_heads, d)
    whole = [[torch.randn(context, n, d) for n in (heads, kv_heads, kv_heads)] for _, context in lengths]
    past = make_batch([(context, context) for _, context in lengths], num_blocks)
    store_kv_naive(
        *(torch.cat([sequence[part] for sequence in whole]) for part in (1, 2)), cache, past.slot_mapping
    )
    query = [wq[context - q :] for (q, context), (wq, _, _) in zip(lengths, whole, strict=True)]
    options = (d**-0.5, window, softcap)
    paged = paged_attention_naive(torch.cat(query), cache, make_batch(lengths, num_blocks), *options)
    reference = [attention_without_pages(x, k, v, *options) for x, (_, k, v) in zip(query, whole, strict=True)]
    return paged, torch.cat(reference).float()


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1), (14, 2)])
@pytest.mark.parametrize("window", [None, 1, 5, 100])
@pytest.mark.parametrize("softcap", [None, 0.7])
def test_prefill_decode_and_chunks_in_one_step_equal_attention_without_pages(heads, kv_heads, window, softcap):
    lengths = [(7, 7), (1, 9), (1, 1), (5, 13), (4, 4), (1, 8)]
    paged, reference = run(lengths, heads, kv_heads, window=window, softcap=softcap)
    torch.testing.assert_close(paged, reference, atol=1e-5, rtol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Watches the bytes of every tensor that an operation makes."""

    num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.num_bytes = max(self.num_bytes, result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_scores_are_bounded_and_come_out_the_same_in_pieces(monkeypatch, rows):
    monkeypatch.setattr("metavox_kernels.attention.SCORE_BYTES", rows * 4 * 4 * 90)
    paged, reference = run([(8, 90)], heads=4, kv_heads=2, d=2)
    torch.testing.assert_close(paged, reference, atol=1e-5, rtol=1e-5)
    batch = make_batch([(8, 90)], 23)
    query, cache = torch.randn(8, 4, 2), torch.randn(23, 2, 2, BLOCK)
    with LargestTensor() as largest:
        paged_attention_naive(query, LayerCache(cache, cache.mT.contiguous()), batch, 1.0)
    assert largest.num_bytes <= max(rows * 4 * 4 * 90, 92 * 2 * 2 * 4), "the scores, or the gathered keys"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_in_half_precision_only_the_result_is_rounded(dtype, tolerance):
    torch.manual_seed(0)
    context, d = 300, 64
    query, key, value = (torch.randn(context, 2, d).mul(2).to(dtype) for _ in range(3))
    batch = make_batch([(context, context)], 80)
    cache = make_cache(80, 2, d, dtype)
    store_kv_naive(key, value, cache, batch.slot_mapping)
    result = paged_attention_naive(query, cache, batch, d**-0.5)
    exact = attention_without_pages(query, key, value, d**-0.5)
    assert result.dtype == dtype
    # Half a unit in the last place, and float32's own error.
    torch.testing.assert_close(result.double(), exact, atol=1e-5, rtol=tolerance)


def test_a_token_does_not_see_the_ones_after_it():
    batch = make_batch([(6, 6)], 10)
    key, value, query = (torch.randn(6, 1, 8) for _ in range(3))
    outputs = []
    for last in (0.0, 100.0):
        cache = make_cache(10, 1, 8)
        store_kv_naive(torch.cat((key[:5], key[5:] + last)), torch.cat((value[:5], value[5:] + last)),
                       cache, batch.slot_mapping)  # fmt: skip
        outputs.append(paged_attention_naive(query, cache, batch, 1.0))
    torch.testing.assert_close(outputs[0][:5], outputs[1][:5], atol=0, rtol=0)
    assert not torch.allclose(outputs[0][5], outputs[1][5])


def test_store_kv_writes_its_slots_and_no_others():
    cache = make_cache(3, 2, 8)
    key, value = torch.randn(2, 2, 8), torch.randn(2, 2, 8)
    store_kv_naive(key, value, cache, torch.tensor([9, 2]))
    for pages, new in zip((cache.key.mT, cache.value), (key, value), strict=True):
        flat = pages.transpose(1, 2).flatten(0, 1)
        assert torch.equal(flat[[9, 2]], new)
        assert flat.isnan().all(-1).all(-1).sum() == 10


def test_an_int8_cache_is_within_half_a_step_of_what_was_stored():
    cache = make_cache(3, 2, 8, torch.int8)
    key, value = torch.randn(2, 2, 8), torch.randn(2, 2, 8)
    key[1, 1] = 0  # no scale is right for it, and none may divide by zero
    store_kv_naive(key, value, cache, torch.tensor([9, 2]))
    assert cache.key_scale is not None
    assert cache.value_scale is not None
    for pages, scales, new in ((cache.key.mT, cache.key_scale, key), (cache.value, cache.value_scale, value)):
        integers = pages.transpose(1, 2).flatten(0, 1)[[9, 2]].float()
        scale = scales.transpose(1, 2).flatten(0, 1)[[9, 2]].unsqueeze(-1)
        torch.testing.assert_close(scale, new.abs().amax(-1, keepdim=True) / 127)
        assert ((integers * scale - new).abs() <= 0.5001 * scale).all()


def filled(dtype, kv_heads, d, block, lengths=LENGTHS):
    """A cache in which all sequences' tokens are stored, poisoned elsewhere, and the step's batch."""
    torch.manual_seed(0)
    num_blocks = sum(-(-context // block) for _, context in lengths) + 1
    cache = make_cache(num_blocks, kv_heads, d, dtype, block)
    past = make_batch([(context, context) for _, context in lengths], num_blocks, block)
    key, value = (torch.randn(len(past.slot_mapping), kv_heads, d) for _ in range(2))
    store_kv_naive(key, value, cache, past.slot_mapping)
    return cache, make_batch(lengths, num_blocks, block)


def piece(batch: PagedBatch, sequence: int, first: int, count: int) -> tuple[slice, PagedBatch]:
    """`count` of a sequence's new tokens as a step of their own: which tokens of `batch` they are, and the step."""
    start, end = batch.query_start[sequence : sequence + 2].tolist()
    context = batch.context_lens[sequence : sequence + 1] - (end - start) + first + count
    tokens = slice(start + first, start + first + count)
    starts = torch.tensor([0, count], dtype=torch.int32)
    tables = batch.block_tables[sequence : sequence + 1]
    return tokens, PagedBatch(starts, context.int(), tables, batch.slot_mapping[tokens])


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [16, 4, 32, 128])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d"),
    [(2, 2, 64), (4, 2, 128), (14, 2, 80), (4, 1, 256), (40, 1, 96), (3, 3, 20), (7, 1, 7)],
)
def test_compiled_attention_equals_its_naive_twin(dtype, block, heads, kv_heads, d):
    cache, batch = filled(dtype, kv_heads, d, block)
    query = torch.randn(len(batch.slot_mapping), heads, d)
    for window, softcap in [(None, None), (1, None), (40, 2.0), (100, None)]:
        result = native.paged_attention(query, cache, batch, d**-0.5, window, softcap)
        assert result is not None
        naive = paged_attention_naive(query, cache, batch, d**-0.5, window, softcap)
        torch.testing.assert_close(result, naive, atol=1e-5, rtol=1e-5)


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "d", "block"), [(4, 2, 64, 16), (14, 2, 128, 32), (3, 3, 20, 4)])
@pytest.mark.parametrize(("window", "softcap"), [(None, None), (40, 2.0)])
def test_a_token_has_the_same_bits_alone_in_a_batch_in_chunks_and_on_two_threads(
    dtype, heads, kv_heads, d, block, window, softcap
):
    cache, batch = filled(dtype, kv_heads, d, block)
    query = torch.randn(len(batch.slot_mapping), heads, d)
    options = (d**-0.5, window, softcap)
    whole = native.paged_attention(query, cache, batch, *options)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert torch.equal(native.paged_attention(query, cache, batch, *options), whole)
    finally:
        torch.set_num_threads(threads)
    for sequence, (new, _) in enumerate(LENGTHS):
        for size in (1, 7, 64):
            for first in range(0, new, size):
                tokens, step = piece(batch, sequence, first, min(size, new - first))
                result = native.paged_attention(query[tokens], cache, step, *options)
                assert torch.equal(result, whole[tokens]), f"sequence {sequence}, {size} from {first}"


@compiled
def test_weights_too_small_to_count_are_left_out_and_change_nothing():
    cache, batch = filled(torch.float32, 2, 64, 16)
    query = torch.randn(len(batch.slot_mapping), 4, 64)
    for scale in (3.0, 30.0):  # scores hundreds and thousands apart
        result = native.paged_attention(query, cache, batch, scale, None, None)
        torch.testing.assert_close(result, paged_attention_naive(query, cache, batch, scale), atol=1e-3, rtol=1e-3)


@compiled
@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_not_even_nan_reaches_a_token_from_the_ones_after_it(dtype):
    cache, batch = filled(dtype, 2, 64, 16, [(40, 40)])
    query = torch.randn(40, 4, 64)
    before = native.paged_attention(query, cache, batch, 0.125, None, None)
    nan = torch.full((1, 2, 64), math.nan)
    store_kv_naive(nan, nan, cache, batch.slot_mapping[20:21])
    after = native.paged_attention(query, cache, batch, 0.125, None, None)
    assert torch.equal(after[:20], before[:20])
    assert after[20:].isnan().all()
    windowed = native.paged_attention(query, cache, batch, 0.125, 10, None)
    assert windowed[20:30].isnan().all()
    assert windowed[30:].isfinite().all()


def test_what_the_compiled_version_does_not_read_is_left_to_the_naive_twin():
    cache, batch = filled(torch.float32, 2, 8, 4)
    query = torch.randn(8, len(batch.slot_mapping), 4)
    for other in (query.permute(1, 2, 0), query.permute(1, 2, 0).bfloat16().contiguous()):
        assert native.paged_attention(other, cache, batch, 1.0, None, None) is None
        result = paged_attention(other, cache, batch, 1.0)
        assert torch.equal(result, paged_attention_naive(other, cache, batch, 1.0))
    strided = LayerCache(cache.key.mT.contiguous().mT, cache.value)
    assert (
        native.paged_attention(torch.randn(len(batch.slot_mapping), 4, 8), strided, batch, 1.0, None, None) is None
    )


def test_too_little_memory_is_an_error(monkeypatch):
    monkeypatch.setattr(native, "_compiled", lambda: lambda *_: 0)
    cache, batch = filled(torch.float32, 2, 8, 4)
    with pytest.raises(MemoryError, match="max_num_batched_tokens"):
        native.paged_attention(torch.randn(len(batch.slot_mapping), 4, 8), cache, batch, 1.0, None, None)
