from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_collector.fold.counters import Counters
from metavox_collector.fold.sums import Sums
from metavox_collector.fold.table import apportioned
from metavox_collector.packing import Packing
from metavox_collector.store.rows import rows_of
from metavox_privacy.cells import fold
from metavox_privacy.fields import PURPOSES
from metavox_privacy.report import Report, ReportCell, apportion
from metavox_privacy.schema import SCHEMA
from tests.spans import WEEK, example_report, small_schema

SMALL = small_schema()
PACKING = Packing(SMALL)


def summed(reports, schema=SMALL):
    packing = Packing(schema)
    sums = Sums(schema, packing)
    sums.add([row for report in reports for row in rows_of(report, packing)])
    return sums


def by_the_specification(reports, purpose, schema=SMALL):
    return fold([report for report in reports if purpose in report.purposes], schema, schema.tables)


def reports(seed):
    """Reports whose cells share words and lack metrics, some of them the same cell twice."""
    chance = random.Random(seed)
    few = [tuple(chance.choice(d.vocabulary[:2]) for d in SMALL.dimensions) for _ in range(3)]
    pool = {m.name: [histogram(m, chance) for _ in range(4)] for m in SMALL.metrics}

    def cell():
        key = tuple(chance.choice(words) for words in zip(*few, strict=True))
        chosen = [name for name in pool if chance.random() < 0.8]
        return ReportCell(key, {name: chance.choice(pool[name]) for name in chosen})

    return [
        Report(
            report_id=f"{number:064x}",
            week=WEEK,
            schema_version=SMALL.version,
            purposes=frozenset(chance.sample(PURPOSES, chance.randint(1, 2))),
            cells=tuple(cell() for _ in range(chance.randint(1, SMALL.cells_per_report))),
            synthetic=chance.random() < 0.1,
        )
        for number in range(chance.randint(1, 30))
    ]


def histogram(metric, chance):
    return apportion([chance.choice((0, 0, 1, 5, 9)) for _ in range(metric.buckets - 1)] + [1], SMALL.units)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0))
def test_the_sums_are_those_of_the_specification(seed):
    some = reports(seed)
    sums = summed(some)
    for purpose in PURPOSES:
        assert {name: dict(cells) for name, cells in sums.tables(purpose).items()} == by_the_specification(
            some, purpose
        )
    assert sums.reports == len(some)
    assert sums.cells == sum(len(report.cells) for report in some)
    assert sums.synthetic == sum(report.synthetic for report in some)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0), st.integers(0, 30))
def test_sums_of_parts_merge_into_the_sums_of_all(seed, at):
    some = reports(seed)
    whole, merged = summed(some), summed(some[:at])
    merged.merge(summed(some[at:]))
    for purpose in PURPOSES:
        assert tables_of(merged, purpose) == tables_of(whole, purpose)
    assert (merged.reports, merged.cells, merged.synthetic) == (whole.reports, whole.cells, whole.synthetic)


def tables_of(sums, purpose):
    return {name: dict(cells) for name, cells in sums.tables(purpose).items()}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(2, 12), st.integers(0), st.sampled_from([256, 181, 147, 128, 1]))
def test_merged_histograms_are_apportioned_as_the_specification_does_it(parts, buckets, seed, units):
    chance = random.Random(seed)

    def one():
        return apportion([chance.choice((0, 0, 1, 2, 3)) for _ in range(buckets - 1)] + [1], 256)

    summed = np.sum([one() for _ in range(parts)], axis=0)
    found, nothing = apportioned(np.array([summed, 0 * summed]), np.array([units, units]))
    assert tuple(found.tolist()) == apportion(summed.tolist(), units)
    assert not nothing.any()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0))
def test_the_coarse_tables_are_summed_as_specified(seed):
    some = reports(seed)
    sums = Sums(SMALL, PACKING, "coarse")
    sums.add([row for report in some for row in rows_of(report, PACKING)])
    for purpose in PURPOSES:
        permitted = [report for report in some if purpose in report.purposes]
        assert tables_of(sums, purpose) == fold(permitted, SMALL, SMALL.coarse_tables)


def test_the_shipped_schema_is_summed_as_specified():
    some = [example_report(token=bytes([number])) for number in range(20)]
    assert tables_of(summed(some, SCHEMA), "publish") == by_the_specification(some, "publish", SCHEMA)


def test_more_reports_of_one_key_than_sixteen_bits_count_are_all_counted():
    one = example_report(schema=SMALL)
    some = [replace(one, report_id=f"{number:064x}") for number in range(700)]
    sums = summed(some[:400])
    sums.merge(summed(some[400:]))
    (cell,) = sums.tables("improve")["performance"].values()
    assert cell.contributors == 700
    assert sum(cell.histograms["time_to_first_token"]) == 700 * 256
    assert tables_of(sums, "improve") == by_the_specification(some, "improve")


def test_counters_hold_numbers_of_any_size_that_integers_have():
    chance = random.Random(3)
    counters, expected = Counters(50, 4), np.zeros((50, 4), np.int64)
    for _ in range(200):
        rows = np.array(sorted(chance.sample(range(50), 5)))
        values = np.array([[chance.choice((0, 1, 70_000, 2**45)) for _ in range(4)] for _ in rows])
        counters.add(rows, values)
        expected[rows] += values
    assert (counters.values(np.arange(50)) == expected).all()
    copy = Counters(50, 4)
    for rows, values in counters.parts():
        copy.add(rows, values)
    assert (copy.values(np.arange(50)) == expected).all()


def test_nothing_added_is_no_key_at_all():
    sums = Sums(SMALL, PACKING)
    sums.add([])
    assert all(not cells and dict(cells) == {} for cells in sums.tables("publish").values())


def test_a_key_that_cannot_be_is_in_no_table():
    performance = summed([example_report(schema=SMALL)]).tables("publish")["performance"]
    assert ("no", "such", "words", "1") not in performance
    assert performance.get(("CPU x86-64 AVX-512", "metavox/tiny", "int8", "1")) is None


GOOD = rows_of(example_report(schema=SMALL), PACKING)[0]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([GOOD._replace(report_id=b"short")], "name of another length"),
        ([GOOD._replace(position=4)], "more than 4 cells"),
        ([GOOD._replace(position=-1)], "more than 4 cells"),
        ([GOOD, GOOD], "more than 4 cells"),
        ([GOOD, GOOD._replace(position=1, flags=1)], "permits one thing here and another there"),
        ([GOOD._replace(cell=GOOD.cell[:-1])], "a key of another length"),
        ([GOOD._replace(cell=b"\xff" * len(GOOD.cell))], "in no vocabulary"),
        ([GOOD._replace(histograms=GOOD.histograms[:-1])], "half a bucket"),
        ([GOOD._replace(histograms=GOOD.histograms[:2] + b"\x07" + GOOD.histograms[3:])], "other than 256 units"),
        ([GOOD._replace(histograms=GOOD.histograms[:3] + GOOD.histograms)], "buckets out of order"),
        ([GOOD._replace(histograms=b"\xff\xff\x00")], "beyond the last"),
    ],
)
def test_what_is_no_report_of_the_schema_is_refused_and_nothing_of_it_added(rows, fault):
    sums = Sums(SMALL, PACKING)
    with pytest.raises(ValueError, match=fault):
        sums.add(rows)
    assert sums.cells == 0
    assert not sums.tables("publish")["performance"]
