from __future__ import annotations

from metavox_collector.admission.blocks import Blocks
from metavox_privacy.week import Week
from tests.spans import WEEK

NEXT = Week(2026, 48)


def test_a_block_brings_as_many_reports_as_the_cap_and_no_more():
    blocks = Blocks(10)
    assert [blocks.take(b"a", 4, WEEK) for _ in range(3)] == [True, True, False]
    assert blocks.take(b"a", 2, WEEK)
    assert not blocks.take(b"a", 1, WEEK)


def test_a_request_without_reports_is_taken_even_then():
    blocks = Blocks(1)
    assert blocks.take(b"a", 1, WEEK)
    assert blocks.take(b"a", 0, WEEK)


def test_blocks_are_counted_apart():
    blocks = Blocks(1)
    assert blocks.take(b"a", 1, WEEK)
    assert blocks.take(b"b", 1, WEEK)
    assert not blocks.take(b"a", 1, WEEK)


def test_a_new_week_begins_anew_under_another_key():
    blocks = Blocks(1)
    assert blocks.take(b"a", 1, WEEK)
    before = blocks._table.places(b"a")
    assert blocks.take(b"a", 1, NEXT)
    assert not blocks.take(b"a", 1, NEXT)
    assert blocks._table.places(b"a") != before
