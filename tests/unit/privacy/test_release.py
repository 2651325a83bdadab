import itertools
import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from metavox_privacy.budget import BudgetExhausted, authorize
from metavox_privacy.cells import Cell, fold
from metavox_privacy.mechanism import gaussian
from metavox_privacy.release import (
    MINIMUM_CONTRIBUTORS,
    Release,
    ReleasedCell,
    ReleasedTable,
    make_release,
    threshold,
)
from metavox_privacy.report import Report
from metavox_privacy.scope import FULL_FROM, installations, scope_after
from metavox_privacy.smoothing import kernel_of, spread, spread_buckets
from tests.spans import WEEK, example_report, example_span, small_schema

SCHEMA = small_schema()
NANO_RHO = 10**9


def release(tables, nano_rho=NANO_RHO, schema=SCHEMA):
    authorization = authorize(
        [], week=WEEK, purpose="publish", schema_version=1, nano_rho=nano_rho, yearly_cap=nano_rho, sandbox=False
    )
    return make_release(tables, schema, authorization)


def crowd(n: int, *reports: Report):
    """The fold of ``n`` copies of each report."""
    tables = fold(reports, SCHEMA, SCHEMA.tables)
    for cells in tables.values():
        for cell in cells.values():
            cell.contributors *= n
            cell.histograms = {name: [n * units for units in h] for name, h in cell.histograms.items()}
    return tables


def test_a_crowded_cell_is_published_with_its_numbers_near_the_truth():
    made = release(crowd(500, example_report(schema=SCHEMA)))
    for table in made.tables:
        cell = table.cells[0]  # a phantom may follow, never lead
        assert cell.contributors == pytest.approx(500, abs=6 * table.count_scale)
        for name, noisy in cell.histograms.items():
            metric, scale = SCHEMA.metric[name], table.histogram_scales[name]
            assert len(noisy) == spread_buckets(metric)
            units = 500 * 256 * sum(kernel_of(metric))
            assert sum(noisy) == pytest.approx(units, abs=6 * scale * math.sqrt(len(noisy)))
    assert set(made.tables[0].cells[0].histograms) == set(SCHEMA.metric)


@pytest.fixture(scope="module")
def drawn_often():
    """30 releases of the same sums, and the sums: two cells of the performance table that hold the same."""
    spans = (example_span(), example_span(metavox__request__concurrency=70))
    sums = crowd(5000, *(example_report(span, schema=SCHEMA) for span in spans))
    return [release(sums, nano_rho=10**7) for _ in range(30)], sums


@pytest.mark.parametrize("name", [table.name for table in SCHEMA.tables])
def test_every_count_has_its_noise(drawn_often, name):
    releases, sums = drawn_often
    tables = [table for made in releases for table in made.tables if table.name == name]
    off = [(t.cells[0].contributors - sums[name][t.cells[0].key].contributors) / t.count_scale for t in tables]
    # The mean of 30 squares of standard normals is outside of these once in fifty million times.
    assert 0.15 < sum(x * x for x in off) / len(off) < 3.5


@pytest.mark.parametrize("name", SCHEMA.tables[0].metrics)
def test_every_number_of_a_histogram_has_its_noise_also_where_nobody_is(drawn_often, name):
    for cell in (0, 1):
        for place in zip(*(off[cell] for off in noise_of(drawn_often, name)), strict=True):
            assert 0.15 < sum(x * x for x in place) / len(place) < 3.5


def noise_of(drawn_often, name):
    """For each release, and each of the two cells, the noise on each number in standard deviations."""
    releases, sums = drawn_often
    for table in (made.tables[0] for made in releases):
        both = table.cells[:2]  # a phantom may follow
        truth = [spread(sums["performance"][cell.key].histograms[name], SCHEMA.metric[name]) for cell in both]
        assert truth[0] == truth[1]
        noisy = [cell.histograms[name] for cell in both]
        scale = table.histogram_scales[name]
        yield [[(a - b) / scale for a, b in zip(*pair, strict=True)] for pair in zip(noisy, truth, strict=True)]


@pytest.mark.parametrize("name", SCHEMA.tables[0].metrics)
def test_no_number_has_the_noise_of_another_one(drawn_often, name):
    # Means of n products of independent standard normals: beyond 7 / sqrt(n) once in a hundred million runs.
    off = [*noise_of(drawn_often, name)]
    between = [a * b for one, other in off for a, b in zip(one, other, strict=True)]
    beside = [a * b for cells in off for cell in cells for a, b in itertools.pairwise(cell)]
    before = [a * b for old, new in itertools.pairwise(off) for a, b in zip(old[0], new[0], strict=True)]
    for products in (between, beside, before):
        assert abs(sum(products) / len(products)) < 7 / math.sqrt(len(products))


def test_no_table_and_no_metric_has_the_noise_of_another_one(drawn_often):
    releases, sums = drawn_often
    counts = [
        [(t.cells[0].contributors - sums[t.name][t.cells[0].key].contributors) / t.count_scale for t in made.tables]
        for made in releases
    ]
    of_first = [
        [next(noise_of(([made], sums), name))[0][0] for name in SCHEMA.tables[0].metrics] for made in releases
    ]
    for drawn in (counts, of_first):
        for one, other in itertools.combinations(zip(*drawn, strict=True), 2):
            assert (
                max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.5
            )  # the same differs by rounding alone


def test_cells_come_in_the_order_of_their_noisy_counts_which_says_nothing_of_the_true_one():
    workload = replace(SCHEMA, tables=SCHEMA.tables[-1:])
    (table,) = workload.tables
    keys = [*itertools.product(*(SCHEMA.dimension[name].vocabulary for name in table.dimensions))]
    cells = {key: Cell(3000 + n % 3) for n, key in enumerate(keys)}
    found = release({table.name: cells}, nano_rho=10**7, schema=workload).tables[0].cells
    assert len(found) == len(keys)
    assert list(found) == sorted(found, key=lambda cell: (-cell.contributors, cell.key))


def test_keys_that_nobody_reported_pass_as_often_as_is_stated(monkeypatch):
    monkeypatch.setattr("metavox_privacy.release.MINIMUM_CONTRIBUTORS", -(10**9))
    monkeypatch.setattr("metavox_privacy.release.PHANTOMS", 40)
    made = release({table.name: {} for table in SCHEMA.tables}, nano_rho=10**7)
    for table in made.tables:
        if table.keys > 80:
            assert 5 < len(table.cells) < 90  # 40 on average; as far off once in a hundred thousand million runs


def test_a_lonely_cell_is_not_published():
    rare = example_report(example_span(hw__model="NVIDIA H100"), schema=SCHEMA)
    performance = release(crowd(5, rare)).tables[0]
    assert "NVIDIA H100" not in {cell.key[0] for cell in performance.cells}


def test_an_empty_week_publishes_next_to_nothing():
    # 0.05 phantoms a table are allowed on average, 0.25 in all; seven at once come once in 80 million runs.
    made = release({table.name: {} for table in SCHEMA.tables})
    assert sum(len(table.cells) for table in made.tables) < 7


def test_the_decision_is_made_on_the_noisy_count_and_not_the_true_one():
    workload = replace(SCHEMA, tables=SCHEMA.tables[-1:])
    report = example_report(schema=SCHEMA)
    least = release(crowd(1, report), nano_rho=10**7, schema=workload).tables[0].threshold
    # Each is published with probability 0.50 to 0.55, phantoms included: all 60 alike come once in 10^15 runs.
    published = [
        bool(release(crowd(least, report), nano_rho=10**7, schema=workload).tables[0].cells) for _ in range(60)
    ]
    assert any(published)
    assert not all(published)


def test_the_threshold_rises_with_noise_and_with_the_number_of_keys():
    assert threshold(0.001, 2, 1) == MINIMUM_CONTRIBUTORS + 1
    assert threshold(10, 2, 1) == math.ceil(MINIMUM_CONTRIBUTORS + 16.4)
    assert threshold(100, 300_000, 1) > threshold(100, 300, 1) > threshold(10, 300, 1)


def test_the_minimum_is_of_installations_also_where_each_counts_in_four_weeks():
    assert threshold(0.001, 2, 4) == 4 * MINIMUM_CONTRIBUTORS + 1
    assert threshold(10, 2, 4) == math.ceil(4 * MINIMUM_CONTRIBUTORS + 16.4)


def test_phantom_keys_stay_as_rare_as_stated():
    for keys in (100, 10_000, 1_000_000):
        expected = keys * (1 - NormalDist().cdf(threshold(1000, keys, 1) / 1000))
        assert expected <= 0.051


def test_a_release_spends_no_more_than_was_authorized_and_nearly_all_of_it():
    spent = sum(
        gaussian(squared_sensitivity=4, nano_rho=NANO_RHO * part // 1000).nano_rho
        for table in SCHEMA.tables
        for part in (table.count_permille, *table.metrics.values())
    )
    assert 0.999 * NANO_RHO <= spent <= NANO_RHO


def test_a_schema_whose_shares_exceed_the_budget_releases_nothing():
    greedy = replace(SCHEMA, tables=tuple(replace(t, count_permille=900) for t in SCHEMA.tables))
    with pytest.raises(BudgetExhausted):
        release({table.name: {("x",): Cell(1)} for table in greedy.tables}, schema=greedy)


def test_the_hash_of_a_release_covers_every_number_in_it():
    made = release(crowd(500, example_report(schema=SCHEMA)))
    cell = made.tables[0].cells[0]
    altered = replace(cell, contributors=cell.contributors + 1)
    tables = (replace(made.tables[0], cells=(altered,)), *made.tables[1:])
    assert made.sha256 == replace(made).sha256
    assert made.sha256 != replace(made, tables=tables).sha256


def test_a_period_of_four_weeks_has_four_times_the_noise_at_the_same_price():
    one, four = (
        make_release(
            {table.name: {} for table in SCHEMA.tables},
            SCHEMA,
            authorize(
                [],
                week=WEEK,
                weeks=weeks,
                purpose="publish",
                schema_version=1,
                nano_rho=NANO_RHO,
                yearly_cap=NANO_RHO,
                sandbox=False,
            ),
        )
        for weeks in (1, 4)
    )
    for narrow, wide in zip(one.tables, four.tables, strict=True):
        assert wide.count_scale == pytest.approx(4 * narrow.count_scale)
        assert narrow.threshold == threshold(narrow.count_scale, narrow.keys, 1)
        assert wide.threshold == threshold(wide.count_scale, wide.keys, 4)
        for name, scale in narrow.histogram_scales.items():
            assert wide.histogram_scales[name] == pytest.approx(4 * scale)


def test_a_coarse_release_holds_the_coarse_tables():
    authorization = authorize(
        [],
        week=WEEK,
        purpose="publish",
        scope="coarse",
        schema_version=1,
        nano_rho=NANO_RHO,
        yearly_cap=NANO_RHO,
        sandbox=False,
    )
    made = make_release(fold([], SCHEMA, SCHEMA.coarse_tables), SCHEMA, authorization)
    assert made.scope == "coarse"
    assert [table.dimensions for table in made.tables] == [table.dimensions for table in SCHEMA.coarse_tables]
    assert set(made.tables[0].histogram_scales) == set(SCHEMA.coarse_tables[0].metrics)


def hardware(*counts, weeks=1):
    cells = tuple(ReleasedCell((str(n),), count, {}) for n, count in enumerate(counts))
    table = ReleasedTable("hardware", ("accelerator_vendor",), 9, 1.0, {}, 20, cells)
    return Release(WEEK, weeks, "publish", "full", 2, NANO_RHO, (table,))


@pytest.mark.parametrize(
    ("last", "scope"),
    [
        (None, "coarse"),
        (hardware(), "coarse"),
        (hardware(FULL_FROM - 1), "coarse"),
        (hardware(FULL_FROM - 500, 500), "full"),
        (hardware(2 * FULL_FROM, weeks=4), "coarse"),
        (hardware(4 * FULL_FROM, weeks=4), "full"),
    ],
)
def test_the_scope_follows_from_what_was_published_last(last, scope):
    assert scope_after(last) == scope


def test_installations_are_those_of_the_published_cells():
    assert installations(hardware(700, 41)) == 741
