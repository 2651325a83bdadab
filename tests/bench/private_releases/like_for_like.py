"""One table, one metric, one budget: ours beside the peers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from tests.bench.private_releases import ours, peers
from tests.bench.private_releases.errors import LEVELS, figures, given, relative, summary
from tests.bench.private_releases.fleet import MOST_CELLS, SHAPES, Floats, Shape, make_fleet

EQUAL = "MetaVox"
BY_SIZE = "MetaVox, weights by size"
PEERS = ("opendp", "diffprivlib", "pipelinedp", "pipelinedp-private")
COUNTS = 20
"""Thousandths of ρ for counts that nobody needs in order to publish 200 public cells. See ``COUNTS_TRIED``."""
COUNTS_BY_SIZE = 50
"""The same where counts decide about weights."""
COUNTS_TRIED = (20, 100, 200, 400)


@dataclass(frozen=True)
class Setting:
    """One fleet's size and shape, an ε and who takes part."""

    installations: int
    shape: Shape
    epsilon: float
    peers: tuple[str, ...] = ()
    seed: int = 1


@dataclass(frozen=True)
class Row:
    """What one competitor made of one setting.

    Attributes:
        cells: How many cells an installation may keep.
        released: Share of the cells that it released.
        given: Share of the cells with each figure; a peer that releases a cell gives all, however wrong.
        error: Median and 90th percentile over cells, by figure; what is not released counts as 100 %.
        by_cell: The relative errors of p50, p90 and p99, cell by cell, to put fleets together.
    """

    setting: Setting
    competitor: str
    cells: int
    released: float
    given: dict[str, float]
    error: dict[str, dict[str, float]]
    by_cell: list[list[float]]


def settings(quick: bool) -> Iterator[Setting]:
    """Ours over the whole grid; the peers where the targets are, and at other sizes and budgets once."""
    everyone = PEERS if peers.is_installed() else ()
    for shape in SHAPES:
        yield Setting(100_000, shape, 1.0, everyone[:2] if quick else everyone)
        if not quick:
            yield Setting(100_000, shape, 1.0, everyone[:2], seed=2)
    if quick:
        return
    for installations, epsilon, shape in product((10_000, 100_000, 1_000_000), (0.5, 1.0, 2.0, 4.0), SHAPES):
        if (installations, epsilon) != (100_000, 1.0):
            once = shape == "log-normal" and (epsilon == 1.0 or installations == 100_000)
            yield Setting(installations, shape, epsilon, everyone[:2] if once else ())


def compare(setting: Setting) -> Iterator[Row]:
    """Everyone who takes part, on one fleet."""
    fleet = make_fleet(setting.installations, setting.shape, setting.seed)
    exact = fleet.quantiles(tuple(LEVELS.values()))
    rho = ours.rho_of(setting.epsilon)
    for name, counts in ((EQUAL, COUNTS), (BY_SIZE, COUNTS_BY_SIZE)):
        part = rho * counts // 1000
        sums = ours.exact_sums(fleet) if name == EQUAL else ours.sums_by_size(fleet, part)
        estimates = ours.release(sums, rho - part)
        errors = relative(figures(estimates, ours.METRIC.edges), exact)
        yield _row(setting, name, MOST_CELLS, errors, given(estimates))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.npz"
        if setting.peers:
            peers.store(fleet, path)
        for peer in setting.peers:
            yield _peer(setting, peer, peers.BOUND[peer], path, exact)


def _peer(setting: Setting, peer: str, cells: int, path: Path, exact: Floats) -> Row:
    rho = ours.rho_of(setting.epsilon) / 1e9
    found = peers.answer(peer, path, epsilon=setting.epsilon, delta=ours.DELTA, rho=rho, cells=cells)
    there = float(np.mean(~np.isnan(found[:, 0])))
    return _row(setting, peer, cells, relative(found, exact), dict.fromkeys(LEVELS, there), there)


def _row(
    setting: Setting, name: str, cells: int, errors: Floats, shares: dict[str, float], released: float = 1.0
) -> Row:
    return Row(setting, name, cells, released, shares, summary(errors), np.round(errors, 5).tolist())


def together(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """The summary of several fleets' cells."""
    return summary(np.array([cell for row in rows for cell in row.by_cell]))


def bounds_tried() -> Iterator[Row]:
    """Each peer with each bound, at 100,000 installations, log-normal, ε = 1."""
    setting = Setting(100_000, "log-normal", 1.0)
    fleet = make_fleet(setting.installations, setting.shape, setting.seed)
    exact = fleet.quantiles(tuple(LEVELS.values()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.npz"
        peers.store(fleet, path)
        for peer, cells in product(PEERS, peers.BOUNDS):
            yield _peer(setting, peer, cells, path, exact)


def counts_tried() -> Iterator[tuple[int, dict[str, dict[str, float]]]]:
    """What the counts' share costs the quantiles, at 100,000 installations, log-normal, ε = 1."""
    fleet = make_fleet(100_000, "log-normal", 1)
    sums, exact = ours.exact_sums(fleet), fleet.quantiles(tuple(LEVELS.values()))
    for counts in COUNTS_TRIED:
        estimates = ours.release(sums, ours.rho_of(1.0) * (1000 - counts) // 1000)
        yield counts, summary(relative(figures(estimates, ours.METRIC.edges), exact))
