"""Paged attention against attention over whole sequences, which knows no pages."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from metavox_kernels import PagedBatch, paged_attention, store_kv

BLOCK = 4


def make_batch(lengths: list[tuple[int, int]], num_blocks: int) -> PagedBatch:
    """(query, context) lengths; blocks are handed out in a shuffled order, the tables padded with -1."""
    order = torch.randperm(num_blocks, generator=torch.Generator().manual_seed(1)).tolist()
    tables, slots, starts = [], [], [0]
    for query, context in lengths:
        table = [order.pop() for _ in range(-(-context // BLOCK))]
        tables.append(table)
        slots += [table[at // BLOCK] * BLOCK + at % BLOCK for at in range(context - query, context)]
        starts.append(starts[-1] + query)
    width = max(map(len, tables)) + 1
    return PagedBatch(
        query_start=torch.tensor(starts, dtype=torch.int32),
        context_lens=torch.tensor([context for _, context in lengths], dtype=torch.int32),
        block_tables=torch.tensor([t + [-1] * (width - len(t)) for t in tables], dtype=torch.int32),
        slot_mapping=torch.tensor(slots),
    )


def run(lengths: list[tuple[int, int]], heads: int, kv_heads: int, d: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """(paged, reference) outputs for sequences whose earlier tokens were stored in an earlier step."""
    torch.manual_seed(0)
    num_blocks = 40
    caches = [torch.full((num_blocks, BLOCK, kv_heads, d), float("nan")) for _ in range(2)]
    whole = [[torch.randn(context, n, d) for n in (heads, kv_heads, kv_heads)] for _, context in lengths]
    past = make_batch([(context, context) for _, context in lengths], num_blocks)
    flat = [torch.cat([sequence[part] for sequence in whole]) for part in range(3)]
    store_kv(flat[1], flat[2], *caches, past.slot_mapping)
    query = torch.cat([s[0][context - q :] for (q, context), s in zip(lengths, whole, strict=True)])
    paged = paged_attention(query, *caches, make_batch(lengths, num_blocks), d**-0.5)
    reference = []
    for (q, _), (wq, wk, wv) in zip(lengths, whole, strict=True):
        wk, wv = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (wk, wv))
        full = torch.nn.functional.scaled_dot_product_attention(
            wq.transpose(0, 1), wk.transpose(0, 1), wv.transpose(0, 1), is_causal=True
        )
        reference.append(full.transpose(0, 1)[-q:])
    return paged, torch.cat(reference)


def test_prefill_decode_and_chunks_in_one_step_equal_attention_without_pages():
    paged, reference = run([(7, 7), (1, 9), (1, 1), (5, 13), (4, 4), (1, 8)], heads=4, kv_heads=2)
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
    batch = make_batch([(8, 90)], 40)
    query, cache = torch.randn(8, 4, 2), torch.randn(40, BLOCK, 2, 2)
    with LargestTensor() as largest:
        paged_attention(query, cache, cache, batch, 1.0)
    assert largest.num_bytes <= max(rows * 4 * 4 * 90, 92 * 2 * 2 * 4), "the scores, or the gathered keys"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_in_half_precision_only_the_result_is_rounded(dtype, tolerance):
    torch.manual_seed(0)
    context, d = 300, 64
    query, key, value = (torch.randn(context, 2, d).mul(2).to(dtype) for _ in range(3))
    batch = make_batch([(context, context)], 80)
    caches = [torch.zeros(80, BLOCK, 2, d, dtype=dtype) for _ in range(2)]
    store_kv(key, value, *caches, batch.slot_mapping)
    result = paged_attention(query, *caches, batch, d**-0.5)
    exact = torch.nn.functional.scaled_dot_product_attention(
        *(x.double().transpose(0, 1) for x in (query, key, value)), is_causal=True
    ).transpose(0, 1)
    assert result.dtype == dtype
    # Half a unit in the last place, and float32's own error.
    torch.testing.assert_close(result.double(), exact, atol=1e-5, rtol=tolerance)


def test_every_grouping_of_query_heads_is_right():
    for heads, kv_heads in [(4, 4), (4, 1), (6, 2)]:
        paged, reference = run([(5, 5), (1, 6)], heads, kv_heads)
        torch.testing.assert_close(paged, reference, atol=1e-5, rtol=1e-5)


def test_a_token_does_not_see_the_ones_after_it():
    batch = make_batch([(6, 6)], 10)
    key, value, query = (torch.randn(6, 1, 8) for _ in range(3))
    outputs = []
    for last in (0.0, 100.0):
        caches = [torch.full((10, BLOCK, 1, 8), float("nan")) for _ in range(2)]
        changed = torch.cat((key[:5], key[5:] + last)), torch.cat((value[:5], value[5:] + last))
        store_kv(*changed, *caches, batch.slot_mapping)
        outputs.append(paged_attention(query, *caches, batch, 1.0))
    torch.testing.assert_close(outputs[0][:5], outputs[1][:5], atol=0, rtol=0)
    assert not torch.allclose(outputs[0][5], outputs[1][5])


def test_store_kv_writes_its_slots_and_no_others():
    caches = [torch.full((3, BLOCK, 2, 8), float("nan")) for _ in range(2)]
    key, value = torch.randn(2, 2, 8), torch.randn(2, 2, 8)
    store_kv(key, value, *caches, torch.tensor([9, 2]))
    for cache, new in zip(caches, (key, value), strict=True):
        flat = cache.flatten(0, 1)
        assert torch.equal(flat[[9, 2]], new)
        assert flat.isnan().all(-1).all(-1).sum() == 10
