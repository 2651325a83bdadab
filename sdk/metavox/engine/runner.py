"""Runs the model on a planned step."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from metavox.engine.scheduler import Slice
from metavox.models.decoder import Decoder
from metavox_kernels import LayerCache, PagedBatch


class Runner:
    """Holds the model and the KV cache, and turns a plan into logits.

    Args:
        model: a loaded and prepared decoder.
        kv_cache: of each layer, on the model's device.
    """

    def __init__(self, model: Decoder, kv_cache: list[LayerCache]) -> None:
        self.model = model
        self.kv_cache = kv_cache
        self.device = kv_cache[0].key.device
        self._block_size = kv_cache[0].block_size
        self._static_bytes = model.nbytes + sum(cache.key.nbytes + cache.value.nbytes for cache in kv_cache)

    @torch.inference_mode()
    def run(self, plan: list[Slice]) -> Tensor:
        """Compute the planned tokens and note them as computed.

        Returns:
            [n, vocab_size], the logits after the last token of each of the n slices that are `is_last`.
        """
        ids: list[int] = []
        positions: list[int] = []
        for piece in plan:
            start = piece.sequence.num_computed
            ids += piece.sequence.token_ids[start : start + piece.num_tokens]
            positions += range(start, start + piece.num_tokens)
        hidden = self.model.forward(self._tensor(ids), self._tensor(positions), self.kv_cache, self._batch(plan))
        for piece in plan:
            piece.sequence.num_computed += piece.num_tokens
        ends = accumulate(piece.num_tokens for piece in plan)
        rows = [end - 1 for piece, end in zip(plan, ends, strict=True) if piece.is_last]
        return self.model.logits(hidden[self._tensor(rows)])

    def _batch(self, plan: list[Slice]) -> PagedBatch:
        tables = [piece.sequence.block_table for piece in plan]
        width = max(map(len, tables))
        starts = [0, *accumulate(piece.num_tokens for piece in plan)]
        contexts = [piece.sequence.num_computed + piece.num_tokens for piece in plan]
        return PagedBatch(
            query_start=self._tensor(starts, torch.int32),
            context_lens=self._tensor(contexts, torch.int32),
            block_tables=self._tensor([table + [0] * (width - len(table)) for table in tables], torch.int32),
            slot_mapping=self._tensor([slot for piece in plan for slot in self._slots(piece)]),
        )

    def _slots(self, piece: Slice) -> list[int]:
        table, size = piece.sequence.block_table, self._block_size
        start = piece.sequence.num_computed
        return [table[at // size] * size + at % size for at in range(start, start + piece.num_tokens)]

    def _tensor(self, values: list[int] | list[list[int]], dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self.device)

    def memory_bytes(self) -> int:
        """Peak bytes allocated on a CUDA device; elsewhere the weights and the KV pool."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return self._static_bytes
