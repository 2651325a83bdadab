from __future__ import annotations

import random
import resource

from hypothesis import given
from hypothesis import strategies as st

from metavox_collector.admission.table import ROWS, WIDTH, KeyedTable


def test_a_number_that_nobody_raised_is_0():
    table = KeyedTable()
    assert table.least(table.places(b"anybody")) == 0


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(1, 1000))))
def test_no_number_is_ever_too_low(raised):
    table, numbers = KeyedTable(), {}
    for who, number in raised:
        table.raise_to(table.places(who), number)
        numbers[who] = max(number, numbers.get(who, 0))
    assert all(table.least(table.places(who)) >= number for who, number in numbers.items())


def test_another_key_finds_other_places_and_no_numbers():
    table = KeyedTable()
    before = table.places(b"somebody")
    table.raise_to(before, 7)
    table.forget()
    after = table.places(b"somebody")
    assert before != after
    assert table.least(before) == table.least(after) == 0


def test_two_tables_never_have_a_key_in_common():
    assert KeyedTable().places(b"somebody") != KeyedTable().places(b"somebody")


def test_a_flood_of_addresses_takes_no_memory_beyond_the_table_and_moves_nobody():
    table, chance = KeyedTable(), random.Random(1)
    table.raise_to(table.places(b"honest"), 1)
    flood = [chance.randbytes(9) for _ in range(WIDTH)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for who in flood:
        table.raise_to(places := table.places(who), table.least(places) + 1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown <= ROWS * WIDTH * 8 + 2**20
    assert table.least(table.places(b"honest")) <= 3
