"""The block allocator keeps its books whatever happens."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from metavox.engine.blocks import BlockAllocator

NUM_BLOCKS, BLOCK_SIZE = 12, 4


class Books(RuleBasedStateMachine):
    """Sequences of any length come, grow and go."""

    def __init__(self):
        super().__init__()
        self.blocks = BlockAllocator(NUM_BLOCKS, BLOCK_SIZE)
        self.tables: list[list[int]] = []

    @rule(num_tokens=st.integers(1, 20))
    def arrive(self, num_tokens):
        table: list[int] = []
        fits = self.blocks.can_hold(table, num_tokens)
        assert fits == (-(-num_tokens // BLOCK_SIZE) <= self.blocks.num_free)
        if fits:
            self.blocks.extend(table, num_tokens)
            self.tables.append(table)

    @precondition(lambda self: self.tables)
    @rule(which=st.integers(0, 99), num_tokens=st.integers(1, 60))
    def grow(self, which, num_tokens):
        table = self.tables[which % len(self.tables)]
        before = list(table)
        if self.blocks.can_hold(table, num_tokens):
            self.blocks.extend(table, num_tokens)
            assert table[: len(before)] == before
            assert len(table) == max(len(before), self.blocks.blocks_for(num_tokens))

    @precondition(lambda self: self.tables)
    @rule(which=st.integers(0, 99))
    def leave(self, which):
        self.blocks.release(self.tables.pop(which % len(self.tables)))

    @rule()
    def interrupted(self):
        self.blocks.reset()
        self.tables.clear()

    @invariant()
    def no_block_is_lost_or_held_twice(self):
        held = [block for table in self.tables for block in table]
        assert len(held) == len(set(held))
        assert set(held) <= set(range(NUM_BLOCKS))
        assert len(held) + self.blocks.num_free == NUM_BLOCKS


TestBooks = Books.TestCase


def test_spare_blocks_are_left_free():
    blocks = BlockAllocator(3, 4)
    assert blocks.can_hold([], 8, spare=1)
    assert not blocks.can_hold([], 8, spare=2)
