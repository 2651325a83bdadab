"""A planned step as the tensors that the model takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metavox.engine.scheduler import Slice
from metavox.engine.sequence import Sequence
from metavox_kernels import PagedBatch

PromptPart = tuple[int, Tensor, int]


@dataclass(frozen=True)
class StepInputs:
    """Tensors on the device, of a step of T tokens.

    Attributes:
        ids: [T] int64; those of `fed_rows` are not known on the host.
        positions: [T] int64.
        batch: where the tokens lie.
        fed_rows, fed_slots: [f] int64, which ids to take from the last tokens of which slots; None without any.
        sampled_rows: [n] int64, the rows after which a token is chosen.
        sampled_slots: [n] int64, the slots of their sequences.
        prompt_parts: for each slice, None, or where the log probabilities of its prompt tokens are asked for:
            the first row, the tokens that follow it and the rows after it, and how many alternatives of each.
    """

    ids: Tensor
    positions: Tensor
    batch: PagedBatch
    fed_rows: Tensor | None
    fed_slots: Tensor | None
    sampled_rows: Tensor
    sampled_slots: Tensor
    prompt_parts: list[PromptPart | None]


class StepBuffers:
    """Memory for the inputs of one step, allocated once; on a CUDA host it is pinned.

    Args:
        max_num_seqs, max_num_batched_tokens, max_blocks, block_size: the bounds of a step.
        device: where the tensors go. The CPU's are views of the buffers.
    """

    def __init__(
        self, max_num_seqs: int, max_num_batched_tokens: int, max_blocks: int, block_size: int, device: torch.device
    ) -> None:
        self._block_size = block_size
        self._device = device
        tokens, seqs = max_num_batched_tokens, max_num_seqs
        self._ids = self._make(tokens, torch.int64)
        self._positions = self._make(tokens, torch.int64)
        self._slot_mapping = self._make(tokens, torch.int64)
        self._query_start = self._make(seqs + 1, torch.int32)
        self._context_lens = self._make(seqs, torch.int32)
        self._tables = self._make(seqs * max_blocks, torch.int32)

    def _make(self, size: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(size, dtype=dtype, pin_memory=self._device.type == "cuda")

    def fill(self, plan: list[Slice]) -> StepInputs:
        """Write a plan into the buffers; what was there before is gone."""
        starts = np.array([piece.start for piece in plan])
        counts = np.array([piece.num_tokens for piece in plan])
        ends = counts.cumsum()
        begins = ends - counts
        owners = np.repeat(np.arange(len(plan)), counts)
        positions = np.arange(ends[-1]) + (starts - begins)[owners]
        tables = self._fill_tables([piece.sequence for piece in plan])
        size = self._block_size
        slots = tables[owners, positions // size].astype(np.int64) * size + positions % size
        fed = self._fill_ids(plan, begins)
        query_start = np.concatenate(([0], ends))
        batch = PagedBatch(
            query_start=self._put(self._query_start, query_start),
            context_lens=self._put(self._context_lens, starts + counts),
            block_tables=self._device_view(self._tables, tables.size).view(tables.shape),
            slot_mapping=self._put(self._slot_mapping, slots),
        )
        rows = [
            int(end) - at for piece, end in zip(plan, ends, strict=True) for at in range(piece.num_sampled, 0, -1)
        ]
        return StepInputs(
            ids=self._device_view(self._ids, int(ends[-1])),
            positions=self._put(self._positions, positions),
            batch=batch,
            fed_rows=self._indices(fed[0]) if fed else None,
            fed_slots=self._indices(fed[1]) if fed else None,
            sampled_rows=self._indices(rows),
            sampled_slots=self._indices([piece.sequence.slot for piece in plan for _ in range(piece.num_sampled)]),
            prompt_parts=[self._prompt_part(piece, int(begin)) for piece, begin in zip(plan, begins, strict=True)],
        )

    def _fill_tables(self, sequences: list[Sequence]) -> NDArray[np.int32]:
        width = max(len(sequence.block_table) for sequence in sequences)
        tables: NDArray[np.int32] = self._tables.numpy()[: len(sequences) * width].reshape(-1, width)
        for row, sequence in zip(tables, sequences, strict=True):
            row[: len(sequence.block_table)] = np.frombuffer(sequence.block_table, dtype=np.int32)
        return tables

    def _fill_ids(self, plan: list[Slice], begins: NDArray[np.int64]) -> tuple[list[int], list[int]] | None:
        """Write the known ids; the rows and the slots of the others."""
        ids = self._ids.numpy()
        rows, slots = [], []
        for piece, begin in zip(plan, begins.tolist(), strict=True):
            sequence, num_drafts = piece.sequence, 0 if piece.drafts is None else len(piece.drafts)
            if piece.start >= sequence.num_tokens:
                rows.append(begin)
                slots.append(sequence.slot)
                continue
            known = sequence.token_ids[piece.start : piece.start + piece.num_tokens - num_drafts]
            ids[begin : begin + len(known)] = known
            if piece.drafts is not None:
                ids[begin + len(known) : begin + piece.num_tokens] = piece.drafts
        return (rows, slots) if rows else None

    def _prompt_part(self, piece: Slice, begin: int) -> PromptPart | None:
        number = piece.sequence.params.prompt_logprobs
        targets = piece.sequence.prompt_token_ids[piece.start + 1 : piece.start + 1 + piece.num_tokens]
        if number is None or piece.sequence.index or not len(targets):
            return None
        return begin, torch.from_numpy(targets).to(self._device), number

    def _put(self, buffer: Tensor, values: NDArray[np.int64]) -> Tensor:
        buffer.numpy()[: len(values)] = values
        return self._device_view(buffer, len(values))

    def _device_view(self, buffer: Tensor, size: int) -> Tensor:
        return buffer[:size].to(self._device, non_blocking=True)

    def _indices(self, values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64).to(self._device, non_blocking=True)
