from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_collector.fold.medians import Medians
from metavox_collector.packing import Packing
from metavox_collector.store.rows import rows_of
from metavox_privacy.cells import project
from metavox_privacy.report import ReportCell, apportion
from tests.spans import example_report, small_schema, table

SCHEMA = small_schema()
PACKING = Packing(SCHEMA)
TABLE = table("performance", SCHEMA)
MEASURED = [name for name in TABLE.metrics if not SCHEMA.metric[name].is_rate]


def report(number, chance):
    keys = [tuple(chance.choice(d.vocabulary[:2]) for d in SCHEMA.dimensions) for _ in range(2)]
    cells = tuple(
        ReportCell(
            chance.choice(keys), {name: histogram(name, chance) for name in TABLE.metrics if chance.random() < 0.8}
        )
        for _ in range(chance.randint(1, 4))
    )
    purposes = frozenset(chance.sample(("improve", "publish"), chance.randint(1, 2)))
    return replace(example_report(), report_id=f"{number:064x}", cells=cells, purposes=purposes)


def histogram(name, chance):
    counts = [chance.choice((0, 0, 0, 1, 5)) for _ in range(SCHEMA.metric[name].buckets)]
    return apportion([*counts[1:], 1], SCHEMA.units)


def median(units):
    return next(i for i, below in enumerate(itertools.accumulate(units)) if 2 * below >= sum(units))


def by_hand(reports):
    """The same in plain words; what cells of one key make together need not be normalised for a median."""
    contributors, medians = Counter(), Counter()
    for each in reports:
        contributors.update(project(each, TABLE, SCHEMA).keys())
        together = {}
        for cell in each.cells:
            key = tuple(cell.key[SCHEMA.position[name]] for name in TABLE.dimensions)
            for name in MEASURED:
                if name in cell.histograms:
                    sums = together.setdefault((key, name), [0] * SCHEMA.metric[name].buckets)
                    together[key, name] = [a + b for a, b in zip(sums, cell.histograms[name], strict=True)]
        medians.update((key, name, median(units)) for (key, name), units in together.items())
    return dict(contributors), dict(medians)


@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_each_report_counts_once_in_the_bucket_where_half_of_its_units_are_reached(seed):
    chance = random.Random(seed)
    reports = [report(number, chance) for number in range(chance.randint(1, 12))]
    medians = Medians(TABLE, "publish", PACKING)
    cut = chance.randint(0, len(reports))
    for part in (reports[:cut], reports[cut:]):
        medians.add([row for each in part for row in rows_of(each, PACKING)])
    permitted = [each for each in reports if "publish" in each.purposes]
    contributors, expected = by_hand(permitted)
    found = list(medians.keys(1))
    assert medians.reports == len(permitted)
    assert {one.key: one.contributors for one in found} == contributors
    assert expected == {
        (one.key, name, bucket): count
        for one in found
        for name, counts in one.medians.items()
        for bucket, count in enumerate(counts.tolist())
        if count
    }


def test_keys_of_fewer_reports_are_left_out():
    medians = Medians(TABLE, "publish", PACKING)
    medians.add(rows_of(example_report(schema=SCHEMA), PACKING))
    assert [one.contributors for one in medians.keys(1)] == [1]
    assert list(medians.keys(2)) == []
