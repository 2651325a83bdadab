"""Which sequences work in the next step, and on how many of their tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from metavox.engine.blocks import BlockAllocator
from metavox.engine.sequence import Sequence


@dataclass(frozen=True)
class Slice:
    """The next `num_tokens` uncomputed tokens of a sequence; the last of them is sampled from if `is_last`."""

    sequence: Sequence
    num_tokens: int
    is_last: bool


class Scheduler:
    """Continuous batching. Prefill and decode share a step; nobody reserves room for tokens not yet there.

    When a running sequence needs a block and none is free, the one that started last gives up all of its own
    and waits, first in line, to be computed again. The oldest can always go on, because no request is
    accepted that would not fit alone.
    """

    def __init__(self, blocks: BlockAllocator, max_num_seqs: int, max_num_batched_tokens: int) -> None:
        self.blocks = blocks
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.num_preemptions = 0

    @property
    def has_work(self) -> bool:
        """Whether any sequence is unfinished."""
        return bool(self.waiting or self.running)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the line."""
        self.waiting.append(sequence)

    def schedule(self) -> list[Slice]:
        """Plan a step of at most `max_num_batched_tokens` tokens, running sequences first."""
        preemptions = self.num_preemptions
        plan = self._continue_running()
        if self.num_preemptions == preemptions:
            self._admit(plan)
        return plan

    def _continue_running(self) -> list[Slice]:
        plan: list[Slice] = []
        budget = self.max_num_batched_tokens
        while len(plan) < len(self.running) and budget:
            sequence = self.running[len(plan)]
            if not self._make_room(sequence):
                break
            plan.append(self._slice(sequence, budget))
            budget -= plan[-1].num_tokens
        return plan

    def _make_room(self, sequence: Sequence) -> bool:
        """Extend the block table over all known tokens, at the cost of those behind; False if it was its turn."""
        while not self.blocks.can_hold(sequence.block_table, len(sequence.token_ids)):
            last = self.running.pop()
            self._preempt(last)
            if last is sequence:
                return False
        self.blocks.extend(sequence.block_table, len(sequence.token_ids))
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.blocks.release(sequence.block_table)
        sequence.num_computed = 0
        self.waiting.appendleft(sequence)
        self.num_preemptions += 1

    def _admit(self, plan: list[Slice]) -> None:
        budget = self.max_num_batched_tokens - sum(piece.num_tokens for piece in plan)
        while self.waiting and len(self.running) < self.max_num_seqs and budget:
            sequence = self.waiting[0]
            # A spare block for each running sequence: else the newcomer is thrown out again a few steps later.
            spare = len(self.running)
            if not self.blocks.can_hold(sequence.block_table, len(sequence.token_ids), spare):
                break
            self.blocks.extend(sequence.block_table, len(sequence.token_ids))
            self.running.append(self.waiting.popleft())
            plan.append(self._slice(sequence, budget))
            budget -= plan[-1].num_tokens

    @staticmethod
    def _slice(sequence: Sequence, budget: int) -> Slice:
        num_tokens = min(sequence.num_uncomputed, budget)
        return Slice(sequence, num_tokens, is_last=num_tokens == sequence.num_uncomputed)

    def remove(self, sequences: Collection[Sequence]) -> None:
        """Forget sequences, finished or not, and take back their blocks."""
        if not sequences:
            return
        gone = set(map(id, sequences))
        running = [kept for kept in self.running if id(kept) not in gone]
        if len(self.running) - len(running) < len(gone):  # tens of thousands may wait, and finished ones do not
            self.waiting = deque(kept for kept in self.waiting if id(kept) not in gone)
        self.running = running
        for sequence in sequences:
            self.blocks.release(sequence.block_table)

    def reset(self) -> None:
        """Forget every sequence and take back every block, whatever state an interruption left them in."""
        self.running.clear()
        self.waiting.clear()
        self.blocks.reset()
