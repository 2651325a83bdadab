"""Who works when. That everyone ends with the right tokens is claimed in test_engine.py."""

from __future__ import annotations

import numpy as np
import pytest

from metavox.engine.blocks import BlockPool
from metavox.engine.scheduler import Scheduler
from metavox.engine.sequence import NO_ROW, Request, Sequence
from metavox.engine.speculate import NGram
from metavox.params import SamplingParams


def make(num_prompt: int, max_tokens: int, first: int = 0, **request) -> Sequence:
    ids = np.arange(first, first + num_prompt, dtype=np.int64)
    params = SamplingParams(max_tokens=max_tokens)
    return Sequence(
        Request(None, ids, params, max_tokens, **request), 0, eos_token_ids=frozenset(), seed=0, tokenizer=None
    )


def scheduler_of(
    num_blocks: int, max_num_seqs: int = 4, max_num_batched_tokens: int = 100, **settings
) -> Scheduler:
    return Scheduler(BlockPool(num_blocks, 4), max_num_seqs, max_num_batched_tokens, **settings)


def finish(scheduler: Scheduler, plan, token: int = 7) -> None:
    """What the engine does when a step has run."""
    for piece in plan:
        if piece.num_sampled and piece.sequence.finish_reason is None:
            piece.sequence.in_flight -= 1
            piece.sequence.append(token, now=1.0)
    scheduler.remove([piece.sequence for piece in plan if piece.sequence.finish_reason])


def run_step(scheduler: Scheduler):
    plan = scheduler.schedule()
    finish(scheduler, plan)
    return plan


def test_a_plan_builds_on_the_token_of_one_that_has_not_run():
    scheduler = scheduler_of(9)
    sequence = make(5, 4)
    scheduler.add(sequence)
    plans = [scheduler.schedule()[0] for _ in range(3)]
    assert [(piece.start, piece.num_tokens, piece.index) for piece in plans] == [(0, 5, 0), (5, 1, 1), (6, 1, 2)]
    assert sequence.in_flight == 3


def test_no_more_is_planned_than_max_tokens_whatever_is_in_flight():
    scheduler = scheduler_of(9)
    scheduler.add(make(5, 2))
    assert [len(scheduler.schedule()) for _ in range(4)] == [1, 1, 0, 0]


def test_a_sequence_in_lockstep_waits_for_its_token():
    scheduler = scheduler_of(9)
    scheduler.add(make(5, 3, lockstep=True))
    plan = scheduler.schedule()
    assert scheduler.in_lockstep
    assert scheduler.schedule() == []
    finish(scheduler, plan)
    assert len(scheduler.schedule()) == 1


def test_running_out_of_blocks_preempts_the_last_to_start_which_goes_on_where_it_was():
    scheduler = scheduler_of(4, max_num_seqs=2)
    first, second = make(4, 9), make(4, 9, first=50)
    scheduler.add(first)
    scheduler.add(second)
    while not scheduler.num_preemptions:
        run_step(scheduler)
    assert scheduler.running == [first]
    assert list(scheduler.waiting) == [second]
    assert (len(second.block_table), second.num_computed, second.slot) == (0, 0, NO_ROW)
    assert second.num_output_tokens > 0, "what was generated stays"
    while scheduler.has_work:
        run_step(scheduler)
    assert second.num_output_tokens == 9
    assert scheduler.blocks.num_free == 4


def test_one_that_gave_way_with_a_token_in_flight_starts_only_when_it_is_known():
    scheduler = scheduler_of(4, max_num_seqs=2)
    first, second = make(4, 12), make(4, 12, first=50)
    scheduler.add(first)
    scheduler.add(second)
    plan = scheduler.schedule()
    while not scheduler.num_preemptions:
        following = scheduler.schedule()
        if not scheduler.num_preemptions:
            finish(scheduler, plan)
            plan = following
    assert second.in_flight == 1
    scheduler.remove([first])
    assert scheduler.schedule() == []
    finish(scheduler, [piece for piece in plan if piece.sequence is second])
    assert scheduler.schedule()[0].sequence is second


def test_prefill_and_decode_share_a_step():
    scheduler = scheduler_of(50, max_num_batched_tokens=10)
    scheduler.add(make(4, 8))
    run_step(scheduler)
    scheduler.add(make(30, 8, first=50))
    assert [(piece.num_tokens, piece.num_sampled) for piece in run_step(scheduler)] == [(1, 1), (9, 0)]


def test_a_prompt_longer_than_a_step_goes_through_in_pieces():
    scheduler = scheduler_of(50, max_num_batched_tokens=8)
    scheduler.add(make(20, 1))
    plans = [run_step(scheduler)[0] for _ in range(3)]
    assert [(piece.start, piece.num_tokens, piece.num_sampled) for piece in plans] == [
        (0, 8, 0), (8, 8, 0), (16, 4, 1),
    ]  # fmt: skip


def test_requests_start_in_the_order_of_their_arrival():
    scheduler = scheduler_of(8)
    big, huge, small = make(12, 2), make(30, 2, first=50), make(2, 2, first=100)
    for sequence in (big, huge, small):
        scheduler.add(sequence)
    started: dict[int, Sequence] = {}
    while scheduler.has_work:
        for piece in run_step(scheduler):
            started.setdefault(id(piece.sequence), piece.sequence)
    assert list(started.values()) == [big, huge, small]


def test_nothing_is_reserved_for_tokens_that_are_not_there_yet():
    scheduler = scheduler_of(25)
    for first in (0, 50, 100):
        scheduler.add(make(4, 90, first))
    run_step(scheduler)
    assert len(scheduler.running) == 3
    assert scheduler.blocks.num_free == 25 - 3


def test_removing_frees_waiting_and_running_sequences_alike():
    scheduler = scheduler_of(6, max_num_seqs=1)
    first, second = make(8, 9), make(8, 9)
    scheduler.add(first)
    scheduler.add(second)
    run_step(scheduler)
    scheduler.remove([first, second])
    assert not scheduler.has_work
    assert scheduler.blocks.num_free == 6


def test_blocks_are_found_by_others_as_soon_as_their_step_is_planned():
    scheduler = scheduler_of(20)
    first, second = make(13, 3), make(13, 3)
    scheduler.add(first)
    scheduler.add(second)
    pieces = scheduler.schedule()
    assert [(piece.start, piece.num_tokens) for piece in pieces] == [(0, 13), (12, 1)]
    assert list(first.block_table[:3]) == list(second.block_table[:3])


def test_the_logprobs_of_a_prompt_need_all_of_it_computed():
    scheduler = scheduler_of(20)
    ids = np.arange(13, dtype=np.int64)
    request = Request(None, ids, SamplingParams(max_tokens=3, prompt_logprobs=1), 3)
    scheduler.add(make(13, 3))
    scheduler.add(Sequence(request, 0, eos_token_ids=frozenset(), seed=0, tokenizer=None))
    assert [piece.start for piece in scheduler.schedule()] == [0, 0]


@pytest.mark.parametrize(("max_tokens", "drafts"), [(20, 4), (4, 2), (2, 0)])
def test_drafts_end_where_max_tokens_does(max_tokens, drafts):
    scheduler = scheduler_of(20, ngram=NGram(4, 2, 1))
    ids = np.array([1, 2, 3, 4, 5, 6, 1, 7], dtype=np.int64)  # 7 comes, and again its successors are guessed
    params = SamplingParams(max_tokens=max_tokens)
    request = Request(None, np.concatenate((ids, ids)), params, max_tokens, lockstep=True, draftable=True)
    scheduler.add(Sequence(request, 0, eos_token_ids=frozenset(), seed=0, tokenizer=None))
    run_step(scheduler)
    piece = scheduler.schedule()[0]
    assert piece.num_tokens == piece.num_sampled == 1 + drafts
    assert (0 if piece.drafts is None else len(piece.drafts)) == drafts
