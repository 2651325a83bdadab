"""The benchmark of accuracy measures what ships: its sums are the fold's, and no report weighs more than it may."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metavox_privacy.cells import fold
from metavox_privacy.fields import PURPOSES, Table
from metavox_privacy.report import Report, ReportCell, apportion
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.bench.private_releases import like_for_like, ours, peers, shipped
from tests.bench.private_releases.fleet import CELLS, HABITS, Fleet, make_fleet
from tests.bench.private_releases.parts import Parts

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


def test_a_part_is_written_when_it_is_there_and_a_later_run_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "out" / "privacy.json"
    first = Parts(path, {"opendp": "0"}, resume=False)
    first.result("one", lambda: [1])
    with pytest.raises(ZeroDivisionError):
        first.result("two", lambda: 1 / 0)
    assert set(json.loads(path.read_text())["parts"]) == {"one"}
    Parts(path, {"opendp": "0"}, resume=False).result("three", lambda: 3)
    assert {name: part["result"] for name, part in json.loads(path.read_text())["parts"].items()} == {
        "one": [1],
        "three": 3,
    }


def test_resuming_keeps_what_is_there_and_a_plain_run_measures_again(tmp_path: Path) -> None:
    path = tmp_path / "privacy.json"
    Parts(path, {}, resume=True).result("one", lambda: 1)
    assert Parts(path, {}, resume=True).result("one", lambda: 2) == 1
    assert Parts(path, {}, resume=False).result("one", lambda: 2) == 2
    assert Parts(path, {}, resume=True).result("one", lambda: 3) == 2


def test_a_file_that_is_not_of_parts_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "privacy.json"
    path.write_text('{"versions": {}}')
    with pytest.raises(ValueError, match="move it away"):
        Parts(path, {}, resume=True)
    assert path.read_text() == '{"versions": {}}'


def test_every_part_of_the_benchmark_has_a_name_of_its_own() -> None:
    names = [
        f"{setting.name}, {competitor.name}"
        for setting in like_for_like.settings(quick=False)
        for competitor in setting.competitors
    ]
    variants = [one.name for part in (shipped.shipped, shipped.shares_tried, shipped.scopes) for one in part()]
    assert len(set(names)) == len(names)
    assert len(set(variants)) == len(variants)
    assert shipped.SHIPS in variants


def test_a_variant_s_part_names_the_shares_that_were_measured_whatever_ships_later() -> None:
    ships, tried = shipped.Variant(shipped.SHIPS), next(shipped.shares_tried())
    assert "/".join(map(str, SCHEMA.tables[0].metrics.values())) in ships.part
    assert tried.shares is not None
    assert "/".join(map(str, tried.shares.values())) in tried.part
    parts = [one.part for part in (shipped.shipped, shipped.shares_tried, shipped.scopes) for one in part()]
    assert len(set(parts)) == len(parts)


def test_every_division_that_was_tried_spends_the_whole_budget() -> None:
    ships = sum((SCHEMA.tables[0].count_permille, *SCHEMA.tables[0].metrics.values()))
    for variant in shipped.shares_tried():
        assert variant.shares is not None
        assert ships - 5 <= sum(variant.shares.values()) <= ships
        table = variant.schema.tables[0]
        assert {"counts": table.count_permille, **table.metrics} == variant.shares


@pytest.mark.skipif(not peers.is_installed(), reason="make bench-privacy makes the peers' environment")
@pytest.mark.parametrize("documented", [False, True])
@pytest.mark.parametrize("peer", like_for_like.PEERS[:2])
def test_a_peer_with_nearly_no_noise_gives_the_quantiles_in_seconds(
    peer: str, documented: bool, tmp_path: Path
) -> None:
    fleet = make_fleet(3_000, "log-normal", 1)
    peers.store(fleet, tmp_path / "fleet.npz")
    found = peers.answer(
        peer, tmp_path / "fleet.npz", epsilon=1e4, delta=1e-8, rho=1e6, cells=3, documented=documented
    )
    largest = np.argsort(-np.bincount(fleet.cell, minlength=CELLS))[:20]
    exact = np.array([np.quantile(fleet.values[fleet.cell == cell], (0.5, 0.9)) for cell in largest])
    assert np.median(np.abs(found[largest, :2] / exact - 1)) < 0.05
