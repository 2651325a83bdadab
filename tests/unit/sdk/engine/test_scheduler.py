"""Who works when: limits are kept, everyone finishes, and a small pool only costs time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from metavox.engine.blocks import BlockAllocator
from metavox.engine.scheduler import Scheduler
from metavox.engine.sequence import Request, Sequence
from metavox.params import SamplingParams


def make(name: str, num_prompt: int, max_tokens: int) -> Sequence:
    request = Request(None, tuple(range(num_prompt)), SamplingParams(max_tokens=max_tokens), max_tokens)
    return Sequence(name, request, eos_token_ids=frozenset(), seed=name, tokenizer=None)


def run_step(scheduler: Scheduler):
    """A step as the engine makes it, with 7 as every token. Returns its plan."""
    plan = scheduler.schedule()
    for piece in plan:
        piece.sequence.num_computed += piece.num_tokens
        assert piece.sequence.num_computed <= len(piece.sequence.token_ids)
        if piece.is_last:
            piece.sequence.append(7)
    scheduler.remove([piece.sequence for piece in plan if piece.sequence.finish_reason])
    return plan


@settings(max_examples=150)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 24), st.integers(1, 20)), min_size=1, max_size=12),
    spare_blocks=st.integers(0, 6),
    max_num_seqs=st.integers(1, 6),
    extra_tokens=st.integers(0, 20),
)
def test_everyone_finishes_within_the_limits_whatever_the_pool(shapes, spare_blocks, max_num_seqs, extra_tokens):
    longest = max(prompt + output - 1 for prompt, output in shapes)
    blocks = BlockAllocator(-(-longest // 4) + spare_blocks, 4)  # the least that the engine accepts, and more
    scheduler = Scheduler(blocks, max_num_seqs, max_num_seqs + extra_tokens)
    sequences = [make(str(at), *shape) for at, shape in enumerate(shapes)]
    for sequence in sequences:
        scheduler.add(sequence)
    steps = 0
    while scheduler.has_work:
        plan = run_step(scheduler)
        steps += 1
        assert plan, "a step without work would never end"
        assert len(plan) <= max_num_seqs
        assert sum(piece.num_tokens for piece in plan) <= max_num_seqs + extra_tokens
        assert all(piece.num_tokens >= 1 for piece in plan)
        held = [block for sequence in scheduler.running for block in sequence.block_table]
        assert len(held) == len(set(held))
        assert steps < 5_000
    assert [s.num_output_tokens for s in sequences] == [output for _, output in shapes]
    assert blocks.num_free == blocks.num_blocks


def test_running_out_of_blocks_preempts_the_last_to_start_and_lets_it_begin_again():
    scheduler = Scheduler(BlockAllocator(4, 4), 2, 100)
    first, second = make("first", 4, 9), make("second", 4, 9)
    scheduler.add(first)
    scheduler.add(second)
    while not scheduler.num_preemptions:
        run_step(scheduler)
    assert scheduler.running == [first]
    assert list(scheduler.waiting) == [second]
    assert second.block_table == []
    assert second.num_computed == 0
    kept = second.num_output_tokens
    assert kept > 0, "what was generated stays"
    while scheduler.has_work:
        run_step(scheduler)
    assert second.num_output_tokens == 9


def test_prefill_and_decode_share_a_step():
    scheduler = Scheduler(BlockAllocator(50, 4), 4, 10)
    scheduler.add(make("first", 4, 8))
    run_step(scheduler)
    scheduler.add(make("second", 30, 8))
    plan = run_step(scheduler)
    assert [(piece.num_tokens, piece.is_last) for piece in plan] == [(1, True), (9, False)]


def test_a_prompt_longer_than_a_step_goes_through_in_pieces():
    scheduler = Scheduler(BlockAllocator(50, 4), 4, 8)
    sequence = make("long", 20, 1)
    scheduler.add(sequence)
    plans = [run_step(scheduler)[0] for _ in range(3)]
    assert [(piece.num_tokens, piece.is_last) for piece in plans] == [(8, False), (8, False), (4, True)]


def test_requests_start_in_the_order_of_their_arrival():
    scheduler = Scheduler(BlockAllocator(8, 4), 4, 100)
    big, huge, small = make("big", 12, 2), make("huge", 30, 2), make("small", 2, 2)
    for sequence in (big, huge, small):
        scheduler.add(sequence)
    started: list[str] = []
    while scheduler.has_work:
        for piece in run_step(scheduler):
            if piece.sequence.request_id not in started:
                started.append(piece.sequence.request_id)
    assert started == ["big", "huge", "small"]


def test_nothing_is_reserved_for_tokens_that_are_not_there_yet():
    scheduler = Scheduler(BlockAllocator(25, 4), 4, 100)
    for name in "abc":
        scheduler.add(make(name, 4, 90))
    run_step(scheduler)
    assert len(scheduler.running) == 3
    assert scheduler.blocks.num_free == 25 - 3


def test_aborting_frees_waiting_and_running_sequences_alike():
    scheduler = Scheduler(BlockAllocator(6, 4), 1, 100)
    first, second = make("first", 8, 9), make("second", 8, 9)
    scheduler.add(first)
    scheduler.add(second)
    run_step(scheduler)
    scheduler.remove([first, second])
    assert not scheduler.has_work
    assert scheduler.blocks.num_free == 6
