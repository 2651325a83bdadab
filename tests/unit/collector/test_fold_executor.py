from __future__ import annotations

import itertools
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_collector.fold.executor import COLUMN, merged, pack, summing, unpack, whole_reports
from metavox_collector.fold.sums import Sums
from metavox_collector.packing import Packing
from metavox_collector.store.rows import StagedRow
from metavox_privacy.fields import PURPOSES
from tests.bench import staged_week
from tests.spans import small_schema

SMALL = small_schema()
PACKING = Packing(SMALL)
REPORTS = sorted(staged_week.rows(50, staged_week.habits(SMALL, number=20)))
ROWS = [row for report in REPORTS for row in report]


def batch(rows: list[StagedRow]) -> pa.RecordBatch:
    """As Spark hands rows of PostgreSQL to Python."""
    kinds = (pa.binary(), pa.int16(), pa.int16(), pa.binary(), pa.binary())
    columns = [pa.array(list(column), kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=list(StagedRow._fields))


def summed(rows: list[StagedRow]) -> Sums:
    sums = Sums(SMALL, PACKING)
    sums.add(rows)
    return sums


def numbers(sums: Sums) -> object:
    tables = {p: {name: dict(cells) for name, cells in sums.tables(p).items()} for p in PURPOSES}
    return sums.reports, sums.cells, sums.synthetic, tables


@given(st.lists(st.integers(0, len(ROWS)), max_size=20))
def test_however_rows_are_cut_reports_stay_whole(cuts):
    edges = [0, *sorted(cuts), len(ROWS)]
    groups = list(whole_reports(ROWS[a:b] for a, b in itertools.pairwise(edges)))
    assert [row for group in groups for row in group] == ROWS
    names = [{row.report_id for row in group} for group in groups]
    assert sum(map(len, names)) == len(set().union(*names))


def test_rows_that_are_not_in_order_are_refused():
    mixed = random.Random(1).sample(ROWS, len(ROWS))
    with pytest.raises(ValueError, match="not read in order"):
        list(whole_reports([mixed]))
    with pytest.raises(ValueError, match="not read in order"):
        list(whole_reports([ROWS[4:8], ROWS[:4]]))


def test_a_slice_becomes_one_row_with_its_sums():
    cut = len(ROWS) // 2 + 1  # in the midst of a report
    (row,) = summing(PACKING, "full")(iter([batch(ROWS[:cut]), batch(ROWS[cut:])]))
    (packed,) = row.column(COLUMN).to_pylist()
    assert numbers(unpack(packed)) == numbers(summed(ROWS))


def test_an_empty_slice_becomes_sums_of_nothing():
    (row,) = summing(PACKING, "full")(iter([]))
    assert unpack(row.column(COLUMN)[0].as_py()).reports == 0


def test_sums_that_were_sent_go_on_growing():
    parts = [pack(summed(ROWS[a : a + 40])) for a in range(0, len(ROWS), 40)]
    whole = parts[0]
    for part in parts[1:]:
        whole = merged(whole, part)
    assert numbers(unpack(whole)) == numbers(summed(ROWS))


def test_a_row_that_is_no_cell_is_refused():
    broken = [ROWS[0]._replace(cell=b"short"), *ROWS[1:4]]
    with pytest.raises(ValueError, match=r"^what is staged "):
        list(summing(PACKING, "full")(iter([batch(broken)])))
