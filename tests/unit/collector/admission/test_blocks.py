from __future__ import annotations

from metavox_collector.admission.blocks import Blocks
from metavox_collector.admission.memory import tables
from metavox_privacy.week import Week
from tests.spans import WEEK

NEXT = Week(2026, 48)


def blocks_of(cap: int) -> Blocks:
    (table,) = tables(1, None)
    return Blocks(table, cap)


def test_a_block_brings_as_many_reports_as_the_cap_and_no_more():
    blocks = blocks_of(10)
    assert [blocks.take(b"a", 4, WEEK) for _ in range(3)] == [True, True, False]
    assert blocks.take(b"a", 2, WEEK)
    assert not blocks.take(b"a", 1, WEEK)


def test_a_request_without_reports_is_taken_even_then():
    blocks = blocks_of(1)
    assert blocks.take(b"a", 1, WEEK)
    assert blocks.take(b"a", 0, WEEK)


def test_blocks_are_counted_apart():
    blocks = blocks_of(1)
    assert blocks.take(b"a", 1, WEEK)
    assert blocks.take(b"b", 1, WEEK)
    assert not blocks.take(b"a", 1, WEEK)


def test_a_new_week_begins_anew_under_another_key():
    (table,) = tables(1, None)
    blocks = Blocks(table, 1)
    assert blocks.take(b"a", 1, WEEK)
    before = table.places(b"a")
    assert blocks.take(b"a", 1, NEXT)
    assert not blocks.take(b"a", 1, NEXT)
    assert table.places(b"a") != before
