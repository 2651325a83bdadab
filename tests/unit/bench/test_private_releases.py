"""The benchmark of accuracy measures what ships: its sums are the fold's, and no report weighs more than it may."""

from __future__ import annotations

import numpy as np

from metavox_privacy.cells import fold
from metavox_privacy.fields import PURPOSES, Table
from metavox_privacy.report import Report, ReportCell, apportion
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.bench.private_releases import ours
from tests.bench.private_releases.fleet import CELLS, HABITS, Fleet, make_fleet

TABLE = Table("speed", ("model",), {ours.METRIC.name: 900}, 100, "a test's")


def reports(fleet: Fleet) -> list[Report]:
    by_installation: dict[int, list[ReportCell]] = {}
    for installation, cell, values in zip(fleet.installation, fleet.cell, fleet.values, strict=True):
        counts = np.bincount(np.searchsorted(ours.METRIC.edges, values), minlength=ours.METRIC.buckets)
        key = tuple(str(cell) if name == "model" else "" for name in SCHEMA.dimension)
        histogram = apportion(counts.tolist(), SCHEMA.units)
        by_installation.setdefault(int(installation), []).append(ReportCell(key, {ours.METRIC.name: histogram}))
    week = Week.parse("2026-W40")
    return [
        Report(str(name), week, SCHEMA.version, frozenset(PURPOSES), tuple(cells), True)
        for name, cells in by_installation.items()
    ]


def test_sums_are_those_of_the_fold_but_for_units_that_do_not_divide() -> None:
    fleet = make_fleet(300, "log-normal", 1)
    folded = fold(reports(fleet), SCHEMA, [TABLE])["speed"]
    sums = ours.exact_sums(fleet)
    contributors = np.bincount(fleet.cell, minlength=CELLS)
    for cell in range(CELLS):
        if contributors[cell] == 0:
            assert not sums[cell].any()
            continue
        expected = np.array(folded[(str(cell),)].histograms[ours.METRIC.name])
        assert sums[cell].sum() == expected.sum()
        assert np.abs(sums[cell] - expected).sum() <= 4 * contributors[cell]


def test_an_installation_is_in_as_many_cells_as_its_fleet_says_and_in_none_twice() -> None:
    fleet = make_fleet(2_000, "bimodal", 3)
    pairs = np.column_stack((fleet.installation, fleet.cell))
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (np.bincount(fleet.installation)[fleet.installation] == fleet.cells_of).all()
    assert set(fleet.cells_of.tolist()) == set(HABITS)


def test_weights_by_size_are_no_more_than_one_report_may_weigh() -> None:
    fleet = make_fleet(2_000, "log-normal", 1)
    worth = ours.worth_by_size(fleet, np.bincount(fleet.cell, minlength=CELLS))
    squares = np.bincount(fleet.installation, worth**2)
    assert squares.max() <= SCHEMA.units**2
    assert np.median(squares) > 0.97 * SCHEMA.units**2


def test_weights_by_size_give_smaller_cells_more() -> None:
    fleet = make_fleet(20_000, "log-normal", 1)
    sizes = np.bincount(fleet.cell, minlength=CELLS)
    worth = ours.worth_by_size(fleet, sizes)
    two = fleet.cells_of == 2
    assert worth[two & (sizes[fleet.cell] < 100)].mean() > 1.1 * worth[two & (sizes[fleet.cell] > 1000)].mean()
