"""One table, one metric, one budget: ours beside the peers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.private_releases import ours, peers
from tests.bench.private_releases.errors import LEVELS, figures, given, relative, summary
from tests.bench.private_releases.fleet import MOST_CELLS, SHAPES, Fleet, Floats, Shape, make_fleet

EQUAL = "MetaVox"
BY_SIZE = "MetaVox, weights by size"
PEERS = ("opendp", "diffprivlib", "pipelinedp", "pipelinedp-private")
COUNTS = 20
"""Thousandths of ρ for counts that nobody needs in order to publish 200 public cells. See ``COUNTS_TRIED``."""
COUNTS_BY_SIZE = 50
"""The same where counts decide about weights."""
COUNTS_TRIED = (20, 100, 200, 400)
SEEDS = (1, 2)
"""Fleets at 100,000 installations and ε = 1, where the targets are; elsewhere one."""


@dataclass(frozen=True)
class Competitor:
    """Ours, or a peer in one of two ways.

    Attributes:
        peer: Its name in ``peer_program.py``, None for ours.
        documented: A peer in its own defaults, on seconds; otherwise tuned, on logarithms.
        cells: How many cells an installation may keep.
    """

    name: str
    peer: str | None = None
    documented: bool = False
    cells: int = MOST_CELLS


OURS = (Competitor(EQUAL), Competitor(BY_SIZE))
TUNED = tuple(Competitor(peer, peer, cells=peers.BOUND[peer]) for peer in PEERS)
DOCUMENTED = tuple(Competitor(f"{peer}, as documented", peer, documented=True) for peer in PEERS)


@dataclass(frozen=True)
class Setting:
    """One fleet's size and shape, an ε and who takes part."""

    installations: int
    shape: Shape
    epsilon: float
    competitors: tuple[Competitor, ...] = OURS
    seed: int = 1

    @property
    def name(self) -> str:
        """What distinguishes it from other settings."""
        return f"{self.installations}, {self.shape}, ε {self.epsilon:g}, fleet {self.seed}"


@dataclass(frozen=True)
class Row:
    """What one competitor made of one setting.

    Attributes:
        competitor: Its name.
        cells: How many cells an installation may keep.
        released: Share of the cells that it released.
        given: Share of the cells with each figure; a peer that releases a cell gives all, however wrong.
        error: Median and 90th percentile over cells, by figure; what is not released counts as 100 %.
        by_cell: The relative errors of p50, p90 and p99, cell by cell, to put fleets together.
    """

    installations: int
    shape: str
    epsilon: float
    seed: int
    competitor: str
    cells: int
    released: float
    given: dict[str, float]
    error: dict[str, dict[str, float]]
    by_cell: list[list[float]]


def settings(quick: bool) -> Iterator[Setting]:
    """Where the targets are first, then the other sizes and budgets.

    PipelineDP keeps every request as a tuple of Python's, which a million installations are too many for. Weights
    by size, which do not ship, are measured at ε = 1.
    """
    tuned, documented = (TUNED, DOCUMENTED) if peers.is_installed() else ((), ())
    fast, everyone = (*tuned[:2], *documented[:2]), (*tuned, *documented)
    for seed, shape in product((1,) if quick else SEEDS, SHAPES):
        yield Setting(100_000, shape, 1.0, (*OURS, *(fast if quick or seed > 1 else everyone)), seed)
    if quick:
        return
    yield from (Setting(10_000, shape, 1.0, (*OURS, *everyone)) for shape in SHAPES)
    for installations, epsilon, shape in product((100_000, 10_000), (0.5, 2.0, 4.0), SHAPES):
        yield Setting(installations, shape, epsilon, (OURS[0], *everyone))
    yield from (Setting(1_000_000, shape, 1.0, (*OURS, *fast)) for shape in SHAPES)


class Contest:
    """One fleet, made when somebody is first measured on it."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting, self._path = setting, folder / "fleet.npz"

    @cached_property
    def _fleet(self) -> Fleet:
        fleet = make_fleet(self.setting.installations, self.setting.shape, self.setting.seed)
        peers.store(fleet, self._path)
        return fleet

    @cached_property
    def _exact(self) -> Floats:
        return self._fleet.quantiles(tuple(LEVELS.values()))

    def record(self, competitor: Competitor) -> dict[str, Any]:
        """What it makes of the fleet, for JSON."""
        return asdict(self.row(competitor))

    def row(self, competitor: Competitor) -> Row:
        """What it makes of the fleet."""
        if competitor.peer is not None:
            return self._peer(competitor.peer, competitor)
        rho = ours.rho_of(self.setting.epsilon)
        if competitor.name == EQUAL:
            part = rho * COUNTS // 1000
            sums = ours.exact_sums(self._fleet)
        else:
            part = rho * COUNTS_BY_SIZE // 1000
            sums = ours.sums_by_size(self._fleet, part)
        estimates = ours.release(sums, rho - part)
        return self._row(competitor, figures(estimates, ours.METRIC.edges), given(estimates), 1.0)

    def _peer(self, peer: str, competitor: Competitor) -> Row:
        exact = self._exact  # first, so that the fleet lies there
        found = peers.answer(
            peer,
            self._path,
            epsilon=self.setting.epsilon,
            delta=ours.DELTA,
            rho=ours.rho_of(self.setting.epsilon) / 1e9,
            cells=competitor.cells,
            documented=competitor.documented,
        )
        there = float(np.mean(~np.isnan(found).any(axis=1)))
        assert found.shape == exact.shape
        return self._row(competitor, found, dict.fromkeys(LEVELS, there), there)

    def _row(self, competitor: Competitor, found: Floats, shares: dict[str, float], released: float) -> Row:
        setting, errors = self.setting, relative(found, self._exact)
        return Row(
            setting.installations,
            setting.shape,
            setting.epsilon,
            setting.seed,
            competitor.name,
            competitor.cells,
            released,
            shares,
            summary(errors),
            np.round(errors, 5).tolist(),
        )


Keep = Callable[[str, Callable[[], Any]], Any]
"""A part's name and how to measure it -> its result, measured now or kept from before; see ``parts.py``."""


def compare(setting: Setting, keep: Keep, who: Sequence[str] | None = None) -> Iterator[Row]:
    """Everyone who takes part, on one fleet, or of them only those whose name begins with one of ``who``."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(setting, Path(folder))
        for competitor in setting.competitors:
            if who and not competitor.name.startswith(tuple(who)):
                continue
            name = f"like for like: {setting.name}, {competitor.name}"
            yield Row(**keep(name, partial(contest.record, competitor)))


def together(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """The summary of several fleets' cells."""
    return summary(np.array([cell for row in rows for cell in row.by_cell]))


def bounds_tried(keep: Keep) -> Iterator[Row]:
    """Each peer, tuned, with each bound, at 100,000 installations, log-normal, ε = 1."""
    setting = Setting(100_000, "log-normal", 1.0)
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(setting, Path(folder))
        for peer, cells in product(PEERS, peers.BOUNDS):
            one = Competitor(peer, peer, cells=cells)
            yield Row(**keep(f"bounds: {peer}, {cells}", partial(contest.record, one)))


def counts_tried(keep: Keep) -> Iterator[tuple[int, dict[str, dict[str, float]]]]:
    """What the counts' share costs the quantiles, at 100,000 installations, log-normal, ε = 1, over the fleets."""
    for counts in COUNTS_TRIED:
        cells = [keep(f"counts: {counts}, fleet {seed}", partial(_counts, seed, counts)) for seed in SEEDS]
        yield counts, summary(np.array(cells).reshape(-1, len(LEVELS)))


def _counts(seed: int, counts: int) -> list[list[float]]:
    fleet = make_fleet(100_000, "log-normal", seed)
    estimates = ours.release(ours.exact_sums(fleet), ours.rho_of(1.0) * (1000 - counts) // 1000)
    errors = relative(figures(estimates, ours.METRIC.edges), fleet.quantiles(tuple(LEVELS.values())))
    return np.round(errors, 5).tolist()  # type: ignore[no-any-return]
