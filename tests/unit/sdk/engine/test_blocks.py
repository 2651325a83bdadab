"""The block pool keeps its books whatever happens."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from metavox.engine.blocks import BlockPool, chain

NUM_BLOCKS = 12
NAMES = [bytes([at]) for at in range(6)]


class Books(RuleBasedStateMachine):
    """Sequences of any length come, share what they find, grow, tell and go."""

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(NUM_BLOCKS, 4)
        self.tables: list[array[int]] = []
        self.contents: dict[int, bytes] = {}  # the name of what was last written to a block

    @rule(own=st.integers(0, 5), shared=st.integers(0, 6))
    def arrive(self, own, shared):
        found = self.pool.find(NAMES[:shared])
        assert [self.contents[block] for block in found] == NAMES[: len(found)], "a block keeps what its name says"
        if own > self.pool.num_free - self.pool.num_idle(found):
            return
        self.pool.share(found)
        mine = self.pool.allocate(own)
        for block in mine:
            self.contents.pop(block, None)
        self.tables.append(array("i", found + mine))

    @precondition(lambda self: self.tables)
    @rule(which=st.integers(0, 99), at=st.integers(0, 5))
    def tell(self, which, at):
        table = self.tables[which % len(self.tables)]
        if at < len(table) and self.contents.get(table[at], NAMES[at]) == NAMES[at]:
            self.contents[table[at]] = NAMES[at]
            self.pool.publish(table[at], NAMES[at])
            assert NAMES[at] in self.pool._block_of

    @precondition(lambda self: self.tables and self.pool.num_free)
    @rule(which=st.integers(0, 99))
    def grow(self, which):
        blocks = self.pool.allocate(1)
        self.contents.pop(blocks[0], None)
        self.tables[which % len(self.tables)].extend(blocks)

    @precondition(lambda self: self.tables)
    @rule(which=st.integers(0, 99))
    def leave(self, which):
        table = self.tables.pop(which % len(self.tables))
        self.pool.release(table)
        assert not table

    @rule()
    def interrupted(self):
        self.pool.reset()
        self.tables.clear()
        self.contents.clear()
        assert self.pool.find(NAMES) == []

    @invariant()
    def no_block_is_lost_and_each_counts_its_holders(self):
        held = Counter(block for table in self.tables for block in table)
        assert set(held) <= set(range(NUM_BLOCKS))
        assert len(held) + self.pool.num_free == NUM_BLOCKS
        assert [self.pool._holders[block] for block in range(NUM_BLOCKS)] == [
            held[block] for block in range(NUM_BLOCKS)
        ]


TestBooks = Books.TestCase


def published(pool: BlockPool, names: list[bytes]) -> array[int]:
    table = array("i", pool.allocate(len(names)))
    for block, name in zip(table, names, strict=True):
        pool.publish(block, name)
    return table


def test_the_block_unused_longest_goes_first_and_of_one_sequence_its_end():
    pool = BlockPool(4, 4)
    older, newer = published(pool, NAMES[:2]), published(pool, NAMES[2:4])
    pool.release(older)
    pool.release(newer)
    kept = []
    for _ in range(4):
        pool.allocate(1)
        kept.append([name for name in NAMES[:4] if pool.find([name])])
    assert kept == [[NAMES[0], NAMES[2], NAMES[3]], NAMES[2:4], [NAMES[2]], []]


def test_a_block_that_is_used_again_is_no_longer_the_oldest():
    pool = BlockPool(2, 4)
    first, second = published(pool, NAMES[:1]), published(pool, NAMES[1:2])
    pool.release(first)
    pool.release(second)
    found = pool.find(NAMES[:1])
    pool.share(found)
    pool.release(array("i", found))
    pool.allocate(1)
    assert pool.find(NAMES[:1]) == found
    assert pool.find(NAMES[1:2]) == []


def test_blank_blocks_are_taken_before_any_that_is_worth_something():
    pool = BlockPool(3, 4)
    pool.release(published(pool, NAMES[:1]))
    pool.allocate(2)
    assert pool.find(NAMES[:1])


def test_a_name_is_of_the_tokens_and_of_all_before_them():
    tokens, others = np.arange(4, dtype=np.int64), np.arange(1, 5, dtype=np.int64)
    names = {chain(b"", tokens), chain(b"", others), chain(chain(b"", tokens), tokens), chain(b"", tokens[:3])}
    assert len(names) == 4
    assert chain(b"", tokens) == chain(b"", tokens.copy())
