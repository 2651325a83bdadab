"""Whatever arrives, in whatever order, with whatever memory: every request ends, with the output it has alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox.engine.speculate import NGram
from metavox.errors import InvalidRequest
from metavox.params import SamplingParams
from tests.unit.sdk.engine.device import BLOCK, engine, expected

PREFIXES = [[7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [7, 8, 9, 10, 11, 12, 13, 14, 5, 5, 5, 5], []]
arrivals = st.lists(
    st.tuples(
        st.integers(0, 6),  # steps before it
        st.sampled_from(PREFIXES),
        st.lists(st.integers(1, 4), min_size=1, max_size=14),
        st.integers(1, 20),  # max_tokens
        st.sampled_from([None, None, None, 0, 1, 3, 8]),  # steps until it is aborted
        st.sampled_from([1, 1, 1, 3]),  # n
        st.sampled_from([False, False, True]),  # whether its tokens must be known before the next is planned
    ),
    min_size=1,
    max_size=10,
)


def submit(running, prompt, max_tokens, n=1, lockstep=False):
    params = SamplingParams(max_tokens=max_tokens, n=n, bad_words=[[1, 2]] if lockstep else None)
    state = running.state(running.check({"prompt_token_ids": prompt}, params))
    running.add(state)
    return state


def check_blocks(scheduler):
    """No block is lost, or counted for anyone who does not hold it."""
    pool = scheduler.blocks
    held = Counter(block for sequence in scheduler.running for block in sequence.block_table)
    assert all(pool._holders[block] == held[block] for block in range(pool.num_blocks))
    free = set(pool._blank) | set(pool._idle)
    assert len(pool._blank) + len(pool._idle) == len(free) == pool.num_blocks - len(held)
    assert not free & set(held)
    assert len(pool._block_of) == len(pool._name_of)
    assert all(pool._block_of[name] == block for block, name in pool._name_of.items())
    slots = [sequence.slot for sequence in scheduler.running]
    assert sorted(slots + scheduler._slots) == list(range(scheduler.max_num_seqs))


@settings(max_examples=300)
@given(
    requests=arrivals,
    spare_blocks=st.integers(0, 12),
    max_num_seqs=st.integers(1, 5),
    extra_tokens=st.integers(0, 20),
    prefix_caching=st.booleans(),
    ngram=st.sampled_from([None, None, NGram(3, 3, 1)]),
    interruptions=st.sampled_from([(), (), (2,), (3, 4, 9)]),  # before which steps
)
def test_every_request_ends_with_what_it_gives_alone(
    requests, spare_blocks, max_num_seqs, extra_tokens, prefix_caching, ngram, interruptions
):
    most = max(-(-(len(prefix) + len(rest) + output - 1) // BLOCK) for _, prefix, rest, output, *_ in requests)
    running = engine(
        most + spare_blocks,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_seqs + extra_tokens,
        prefix_caching=prefix_caching,
        ngram=ngram,
        vocab=17,
    )
    waiting = list(requests)
    states, aborts, step = [], [], 0
    while waiting or running.has_work or running._launched:
        while waiting and (waiting[0][0] == 0 or not running.has_work):
            _, prefix, rest, output, patience, n, lockstep = waiting.pop(0)
            states.append((submit(running, prefix + rest, output, n, lockstep), prefix + rest, output))
            if patience is not None:
                aborts.append((step + patience, states[-1][0]))
        if waiting:
            waiting[0] = (waiting[0][0] - 1, *waiting[0][1:])
        for when, state in aborts:
            if when == step:
                running.abort(state)
        if step in interruptions:
            running.restart()
        running.step()
        check_blocks(running.scheduler)
        step += 1
        assert step < 5_000
    pool = running.scheduler.blocks
    assert pool.num_free == pool.num_blocks
    aborted = {id(state) for _, state in aborts}
    for state, prompt, output in states:
        alone = expected(prompt, output, vocab=17)
        for sequence in state.sequences:
            tokens = sequence.output_token_ids.tolist()
            assert tokens == alone[: len(tokens)]
            assert sequence.finish_reason == "abort" or tokens == alone
            assert sequence.finish_reason != "abort" or id(state) in aborted


def run(running, *states):
    updates = 0
    while not all(state.finished for state in states):
        running.step()
        updates += 1
    while running._launched:
        running.step()
    return updates


def tokens(state):
    return [sequence.output_token_ids.tolist() for sequence in state.sequences]


def test_a_shared_prefix_of_requests_that_arrive_together_is_computed_once():
    running = engine(200, max_num_seqs=8, max_num_batched_tokens=64)
    prefix = list(range(1, 41))
    states = [submit(running, [*prefix, 41 + at], 2) for at in range(6)]
    run(running, *states)
    assert [state.sequences[0].num_cached_tokens for state in states] == [0, 40, 40, 40, 40, 40]
    # Beside the prefix, each computes its own last prompt token, and of its output what was launched.
    assert running.runner.num_tokens <= 41 + 5 + 6 * 2
    assert [tokens(state)[0] for state in states] == [expected([*prefix, 41 + at], 2) for at in range(6)]


def test_completions_of_one_prompt_share_its_blocks():
    running = engine(200, max_num_seqs=8, max_num_batched_tokens=64)
    state = submit(running, list(range(1, 33)), 4, n=4)
    running.step()
    tables = [list(sequence.block_table) for sequence in state.sequences]
    assert all(table[:7] == tables[0][:7] for table in tables)
    assert len({table[7] for table in tables}) == 4, "the last block is written by each"
    run(running, state)
    assert tokens(state) == [expected(list(range(1, 33)), 4)] * 4


def test_a_later_request_finds_the_blocks_of_one_that_is_gone_until_they_are_needed():
    running = engine(12)
    prompt = list(range(1, 21))
    run(running, submit(running, prompt, 3))
    again = submit(running, [*prompt, 49], 1)
    run(running, again)
    assert again.sequences[0].num_cached_tokens == 20
    run(running, submit(running, list(range(2, 46)), 4))  # takes every block
    last = submit(running, prompt, 1)
    run(running, last)
    assert last.sequences[0].num_cached_tokens == 0


def test_without_prefix_caching_nothing_is_shared():
    running = engine(50, prefix_caching=False)
    first, second = submit(running, [1] * 12, 2), submit(running, [1] * 12, 2)
    run(running, first, second)
    assert second.sequences[0].num_cached_tokens == 0
    assert not running.scheduler.blocks._block_of


def test_a_step_is_launched_before_the_tokens_of_the_last_one_are_known():
    running = engine(50)
    state = submit(running, [3, 4, 5], 5)
    assert running.step() == []
    assert state.num_generation_tokens == 0
    assert running.step() == [state]
    assert state.num_generation_tokens == 1
    assert state.sequences[0].in_flight == 1


def test_nothing_is_run_past_max_tokens():
    running = engine(50)
    state = submit(running, [3, 4, 5], 3)
    run(running, state)
    assert len(tokens(state)[0]) == 3
    assert running.runner.num_run == 3


def test_a_long_prompt_leaves_every_running_sequence_its_token_a_step():
    running = engine(200, max_num_seqs=4, max_num_batched_tokens=8)
    short = [submit(running, [at, 2], 30) for at in (30, 31)]
    for _ in range(3):
        running.step()
    long = submit(running, [1, 2, 3] * 30, 2)
    before = [state.num_generation_tokens for state in short]
    for _ in range(6):
        running.step()
    after = [state.num_generation_tokens for state in short]
    assert all(now - then == 6 for now, then in zip(after, before, strict=True))
    assert not long.sequences[0].token_times
    run(running, *short, long)
    assert tokens(long)[0] == expected([1, 2, 3] * 30, 2)


def test_drafts_that_are_right_save_steps_and_wrong_ones_change_nothing():
    plain, guessing = engine(80, vocab=3), engine(80, vocab=3, ngram=NGram(4, 3, 1), max_num_batched_tokens=64)
    prompt = [1, 2, 1, 2, 2, 1, 1, 2, 1, 2, 2, 1, 1]
    for running in (plain, guessing):
        running.checks.defaults = type(running.checks.defaults)(frozenset(), {})
    one, other = submit(plain, prompt, 60), submit(guessing, prompt, 60)
    run(plain, one)
    run(guessing, other)
    assert tokens(one) == tokens(other) == [expected(prompt, 60, vocab=3, eos=None)]
    sequence = other.sequences[0]
    assert 0 < sequence.num_accepted < sequence.num_drafted
    assert guessing.runner.num_run < plain.runner.num_run
    assert guessing.runner.num_run == 60 - sequence.num_accepted


def test_an_interruption_anywhere_loses_no_request():
    running = engine(30)
    states = [submit(running, [at, 2, 3, 4, 5], 12) for at in range(1, 6)]
    for _ in range(4):
        running.step()
    running.restart()
    run(running, *states)
    assert [tokens(state)[0] for state in states] == [expected([at, 2, 3, 4, 5], 12) for at in range(1, 6)]
    check_blocks(running.scheduler)


def test_a_failing_device_ends_what_ran_and_nothing_else():
    running = engine(30)
    lost = submit(running, [1, 2], 5)
    running.step()
    error = RuntimeError("broken")
    assert running.fail(error) == [lost]
    assert lost.finished
    assert lost.error is error
    later = submit(running, [1, 2], 5)
    run(running, later)
    assert tokens(later)[0] == expected([1, 2], 5)


def test_a_token_that_is_none_ends_its_sequence_alone():
    running = engine(30)
    good, bad = submit(running, [1, 2], 5), submit(running, [3, 4], 5)
    run_step = running.runner.run

    def broken(pieces):
        result = run_step(pieces)
        for row, (piece, *_) in enumerate(pieces):
            if piece.sequence is bad.sequences[0]:
                result.sampled.token_ids[row] = -1
        return result

    running.runner.run = broken
    run(running, good, bad)
    assert bad.sequences[0].finish_reason == "error"
    assert tokens(bad) == [[]]
    assert tokens(good)[0] == expected([1, 2], 5)


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "words"), [([1] * 30, 40, "num_kv_blocks"), ([1] * 1000, 1, "max_model_len")]
)
def test_a_request_that_can_never_fit_is_refused_by_itself(prompt, max_tokens, words):
    running = engine(16)
    with pytest.raises(InvalidRequest, match=words):
        running.check({"prompt_token_ids": prompt}, SamplingParams(max_tokens=max_tokens))
    fine = submit(running, [1, 2], 3)
    run(running, fine)
    assert tokens(fine)[0] == expected([1, 2], 3)
