"""Which sequences work in the next step, and on how many of their tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from numpy import int64
from numpy.typing import NDArray

from metavox.engine.blocks import BlockPool
from metavox.engine.sequence import NO_ROW, Sequence
from metavox.engine.speculate import NGram


@dataclass(frozen=True)
class Slice:
    """A sequence's part of a step.

    Attributes:
        sequence: whose.
        start: the position of the first of its tokens; all before it are computed by then.
        num_tokens: how many tokens go through the model, drafts included.
        index: which output token the first sampled one is, from 0.
        num_sampled: 0 where the prompt is not done, else 1 and one more for each draft.
        drafts: [num_sampled - 1], guesses at the tokens that follow the last known one.
    """

    sequence: Sequence
    start: int
    num_tokens: int
    index: int
    num_sampled: int
    drafts: NDArray[int64] | None = None


class Scheduler:
    """Continuous batching. Prefill and decode share a step; nobody reserves room for tokens not yet there.

    A step is planned while the device still runs the one before, so a plan may build on tokens in flight. What
    a plan computes counts as computed at once, and full blocks can be found by others at once: the device runs
    steps in order, and within a step all keys are written before any are read.

    When a running sequence needs a block and none is free, the one that started last gives up all of its own
    and waits, first in line, to be computed again. The oldest can always go on, because no request is
    accepted that would not fit alone.
    """

    def __init__(
        self,
        blocks: BlockPool,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        *,
        prefix_caching: bool = True,
        ngram: NGram | None = None,
    ) -> None:
        self.blocks = blocks
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.num_preemptions = 0
        self._prefix_caching = prefix_caching
        self._ngram = ngram
        self.reset()

    def reset(self) -> None:
        """Forget every sequence and take back every block, whatever state an interruption left them in."""
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._slots = list(range(self.max_num_seqs - 1, -1, -1))
        self.blocks.reset()

    @property
    def has_work(self) -> bool:
        """Whether any sequence is unfinished."""
        return bool(self.waiting or self.running)

    @property
    def in_lockstep(self) -> bool:
        """Whether a running sequence needs its tokens known before more can be planned for it."""
        return any(sequence.request.lockstep for sequence in self.running)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the line."""
        self.waiting.append(sequence)

    def schedule(self) -> list[Slice]:
        """Plan a step of at most `max_num_batched_tokens` tokens, running sequences first."""
        preemptions = self.num_preemptions
        plan = self._continue_running()
        if self.num_preemptions == preemptions:
            self._admit(plan)
        for piece in plan:
            piece.sequence.start(len(plan))
        return plan

    def _continue_running(self) -> list[Slice]:
        plan: list[Slice] = []
        budget = self.max_num_batched_tokens
        at = 0
        while at < len(self.running):
            sequence = self.running[at]
            at += 1
            if sequence.is_waiting_for_tokens:
                continue
            share = budget - (len(self.running) - at)  # a long prompt leaves a token to each one behind it
            drafts = self._draft(sequence, share - 1)
            num_tokens = min(sequence.num_uncomputed, share) + (0 if drafts is None else len(drafts))
            if not self._make_room(sequence, sequence.num_computed + num_tokens):
                break
            plan.append(self._plan(sequence, num_tokens, drafts))
            budget -= num_tokens
        return plan

    def _draft(self, sequence: Sequence, most: int) -> NDArray[int64] | None:
        """Guesses for a sequence that decodes, where guessing is on and fits; None without any."""
        if self._ngram is None or not sequence.request.draftable or sequence.num_uncomputed != 1:
            return None
        most = min(most, sequence.request.max_tokens - sequence.num_output_tokens - 1)
        drafts = self._ngram.propose(sequence.token_ids)[: max(0, most)]
        return drafts if len(drafts) else None

    def _make_room(self, sequence: Sequence, num_tokens: int) -> bool:
        """Extend the block table to `num_tokens`, at the cost of those behind; False if it was its own turn."""
        needed = self.blocks.blocks_for(num_tokens) - len(sequence.block_table)
        while needed > self.blocks.num_free:
            last = self.running.pop()
            self._preempt(last)
            if last is sequence:
                return False
        if needed > 0:
            sequence.block_table.extend(self.blocks.allocate(needed))
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self._give_up(sequence)
        sequence.num_computed = 0
        self.waiting.appendleft(sequence)
        self.num_preemptions += 1

    def _give_up(self, sequence: Sequence) -> None:
        """Take back what only a running sequence has."""
        self._publish(sequence)
        self.blocks.release(sequence.block_table)
        if sequence.slot != NO_ROW:
            self._slots.append(sequence.slot)
            sequence.slot = NO_ROW

    def _admit(self, plan: list[Slice]) -> None:
        budget = self.max_num_batched_tokens - sum(piece.num_tokens for piece in plan)
        while self.waiting and self._slots and budget > 0:
            sequence = self.waiting[0]
            if sequence.in_flight or not self._take_blocks(sequence):
                break
            self.running.append(self.waiting.popleft())
            sequence.slot = self._slots.pop()
            plan.append(self._plan(sequence, min(sequence.num_uncomputed, budget), None))
            budget -= plan[-1].num_tokens

    def _take_blocks(self, sequence: Sequence) -> bool:
        """Give a waiting sequence blocks for its known tokens, those of a known prefix among them."""
        shared = self.blocks.find(self._prefix(sequence))
        needed = self.blocks.blocks_for(sequence.num_tokens) - len(shared)
        # A spare block for each running sequence: else the newcomer is thrown out again a few steps later.
        free = self.blocks.num_free - self.blocks.num_idle(shared) - len(self.running)
        if needed > free:
            return False
        self.blocks.share(shared)
        sequence.block_table.extend(shared + self.blocks.allocate(needed))
        sequence.num_published = len(shared)
        sequence.num_computed = len(shared) * self.blocks.block_size
        if not sequence.first_scheduled_time:
            sequence.num_cached_tokens = sequence.num_computed
        return True

    def _prefix(self, sequence: Sequence) -> list[bytes]:
        """The blocks that may come from the cache: the last token is always computed, for its logits."""
        # The prompt's log probabilities are those that its first completion computes.
        needs_prompt = sequence.params.prompt_logprobs is not None and sequence.index == 0
        if not self._prefix_caching or needs_prompt:
            return []
        most = (sequence.num_tokens - 1) // self.blocks.block_size
        return sequence.names(self.blocks.block_size)[:most]

    def _plan(self, sequence: Sequence, num_tokens: int, drafts: NDArray[int64] | None) -> Slice:
        num_drafts = 0 if drafts is None else len(drafts)
        is_last = num_tokens == sequence.num_uncomputed + num_drafts
        piece = Slice(
            sequence,
            start=sequence.num_computed,
            num_tokens=num_tokens,
            index=sequence.num_output_tokens + sequence.in_flight,
            num_sampled=1 + num_drafts if is_last else 0,
            drafts=drafts,
        )
        sequence.num_computed += num_tokens
        sequence.in_flight += is_last
        self._publish(sequence)
        return piece

    def _publish(self, sequence: Sequence) -> None:
        """Let others find the blocks that are full of known tokens and computed."""
        if not self._prefix_caching:
            return
        size = self.blocks.block_size
        full = min(sequence.num_computed, sequence.num_tokens) // size
        if full > sequence.num_published:
            names = sequence.names(size)
            for at in range(sequence.num_published, full):
                self.blocks.publish(sequence.block_table[at], names[at])
            sequence.num_published = full

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
            self._give_up(sequence)
