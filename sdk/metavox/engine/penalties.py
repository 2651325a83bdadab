"""How often each token was there, kept on the device so that penalties need no token on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metavox_kernels import penalize


@dataclass(frozen=True)
class Start:
    """What the history in `slot` begins with: ids, with twice their count in the output, plus 1 in the prompt."""

    slot: int
    ids: NDArray[np.int64]
    values: NDArray[np.int32]


@dataclass(frozen=True)
class PenaltyBatch:
    """The rows of a step that are penalized.

    Attributes:
        rows: [n] int64 of the logits.
        slots: [n] int64 of the history.
        factors: [3, n] float32: repetition, presence and frequency penalties.
        starts: of histories that begin with this step.
        num_slots: that there are to be.
    """

    rows: Tensor
    slots: Tensor
    factors: Tensor
    starts: list[Start]
    num_slots: int


class PenaltyHistory:
    """A row of token counts for each penalized sequence that runs; nothing while none does.

    `place` is for the thread that plans steps, the rest for the one that runs them, in the same order.

    Args:
        vocab_size: 4 bytes for each of them a sequence.
        device: where the counts are.
    """

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self._history = torch.zeros(0, vocab_size, dtype=torch.int32, device=device)
        self._slots: dict[int, int] = {}  # the engine's slot: ours
        self._owners: list[tuple[ref[Any] | None, int]] = []  # who has ours, and the place of its next token

    @property
    def num_slots(self) -> int:
        """How many the device will have to have."""
        return len(self._slots)

    def place(self, sequence: Any, index: int) -> tuple[int, Start | None]:
        """The slot with the tokens before number `index` of the output, and how to fill it if it must be.

        It must for a sequence that comes to the slot, or comes back to it: all its tokens are known then. From
        there on the device counts those that it samples.
        """
        slot = self._slots.setdefault(sequence.slot, len(self._slots))
        if slot == len(self._owners):
            self._owners.append((None, 0))
        owner, next_index = self._owners[slot]
        self._owners[slot] = (ref(sequence), index + 1)
        if owner is not None and owner() is sequence and next_index == index:
            return slot, None
        output = sequence.output_token_ids
        if len(output) != index:
            raise AssertionError(f"token {index} is to be penalized, and {len(output)} are known before it")
        return slot, _start(slot, sequence.prompt_token_ids, output)

    def apply(self, logits: Tensor, batch: PenaltyBatch) -> None:
        """Penalize rows of `logits` [num_rows, vocab] float32, in place."""
        missing = batch.num_slots - len(self._history)
        if missing > 0:
            grown = max(missing, len(self._history))
            self._history = torch.cat((self._history, self._history.new_zeros(grown, self._history.shape[1])))
        for start in batch.starts:
            row = self._history[start.slot].zero_()
            row[torch.from_numpy(start.ids).to(row.device)] = torch.from_numpy(start.values).to(row.device)
        device = self._history.device
        repetition, presence, frequency = batch.factors.to(device)
        slots = batch.slots.to(device)
        penalize(logits, batch.rows.to(device), self._history, slots, repetition, presence, frequency)

    def count(self, batch: PenaltyBatch, tokens: Tensor) -> None:
        """Add the tokens [num_rows] that were sampled; a row that failed counts any, since its sequence ends."""
        chosen = tokens[batch.rows].clamp_min(0)
        two = torch.full_like(chosen, 2, dtype=torch.int32)
        self._history.index_put_((batch.slots.to(chosen.device), chosen), two, accumulate=True)


def _start(slot: int, prompt: NDArray[Any], output: NDArray[Any]) -> Start:
    ids, inverse = np.unique(np.concatenate((prompt, output)), return_inverse=True)
    values = 2 * np.bincount(inverse[len(prompt) :], minlength=len(ids))
    values[inverse[: len(prompt)]] += 1
    return Start(slot, ids.astype(np.int64), values.astype(np.int32))
