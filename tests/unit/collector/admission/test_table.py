from __future__ import annotations

import os
import random
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_collector.admission.memory import shared, tables
from metavox_collector.admission.table import SIZE, WIDTH, KeyedTable


@pytest.fixture
def table():
    return new()


def new() -> KeyedTable:
    (table,) = tables(1, None)
    table.enter(1)
    return table


def test_a_number_that_nobody_raised_is_0(table):
    assert table.least(table.places(b"anybody")) == 0


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(1, 1000)), max_size=30))
def test_no_number_is_ever_too_low(raised):
    table, numbers = new(), {}
    for who, number in raised:
        table.raise_to(table.places(who), number)
        numbers[who] = max(number, numbers.get(who, 0))
    assert all(table.least(table.places(who)) >= number for who, number in numbers.items())


def test_in_another_period_another_key_finds_other_places_and_no_numbers(table):
    before = table.places(b"somebody")
    table.raise_to(before, 7)
    table.enter(1)
    assert table.places(b"somebody") == before
    assert table.least(before) == 7
    table.enter(2)
    after = table.places(b"somebody")
    assert before != after
    assert table.least(before) == table.least(after) == 0


def test_of_another_period_neither_the_key_nor_a_number_is_left_also_if_nobody_comes():
    memory = memoryview(bytearray(SIZE))
    table = KeyedTable(memory)
    table.leave(1)
    table.enter(1)
    table.raise_to(table.places(b"somebody"), 7)
    table.leave(1)
    assert table.least(table.places(b"somebody")) == 7
    table.leave(2)
    assert not any(memory)


def test_two_tables_never_have_a_key_in_common():
    assert new().places(b"somebody") != new().places(b"somebody")


def test_tables_of_one_memory_do_not_overlap():
    first, second = tables(2, None)
    for table in (first, second):
        table.enter(1)
    for place in range(4 * WIDTH):
        first.raise_to([place], 1)
    assert max(map(second.least, ([place] for place in range(4 * WIDTH)))) == 0
    second.enter(2)
    assert min(map(first.least, ([place] for place in range(4 * WIDTH)))) == 1


def test_a_flood_of_addresses_takes_no_memory_beyond_the_table_and_moves_nobody(table):
    chance = random.Random(1)
    table.raise_to(table.places(b"honest"), 1)
    flood = [chance.randbytes(9) for _ in range(WIDTH)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for who in flood:
        table.raise_to(places := table.places(who), table.least(places) + 1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown <= SIZE + 2**20
    assert table.least(table.places(b"honest")) <= 3


ANOTHER = """
import sys
from metavox_collector.admission.memory import tables
(table,) = tables(1, int(sys.argv[1]))
table.enter(1)
table.raise_to(table.places(b"somebody"), 7)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory without a name is Linux's")
def test_processes_that_share_memory_find_each_others_numbers():
    descriptor = shared(1)
    (mine,) = tables(1, descriptor)
    mine.enter(1)
    subprocess.run([sys.executable, "-c", ANOTHER, str(descriptor)], pass_fds=[descriptor], check=True)
    assert mine.least(mine.places(b"somebody")) == 7
    assert mine.least(mine.places(b"somebody else")) == 0
    os.close(descriptor)
