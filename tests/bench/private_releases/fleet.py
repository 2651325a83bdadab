"""Synthetic fleets for measuring private releases: who is in which cell, and what was timed there.

There are 200 cells whose sizes follow Zipf's law; an installation is in one, two or three of them and sends four
requests in each. A cell has its own centre and width, an installation its own speed, and requests vary around it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = Literal["log-normal", "bimodal", "heavy-tailed"]
SHAPES: tuple[Shape, ...] = ("log-normal", "bimodal", "heavy-tailed")

CELLS = 200
MOST_CELLS = 3
"""What an installation can be in; every competitor is told."""
HABITS = (1, 1, 1, 2, 2, 3)
REQUESTS = 4
LOW, HIGH = 0.001, 120.0
"""The public bounds in seconds, those of the schema's time to first token."""

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Fleet:
    """A fleet, a row for each pair of an installation and a cell that it is in, ordered by cell.

    Attributes:
        installation: Whose row it is.
        cell: Which of the cells.
        cells_of: How many cells that installation is in.
        values: The seconds of its requests there, ``(rows, REQUESTS)``.
    """

    installation: Ints
    cell: Ints
    cells_of: Ints
    values: Floats

    def by_cell(self) -> Iterator[slice]:
        """The rows of each cell."""
        ends = np.searchsorted(self.cell, np.arange(CELLS + 1))
        return (slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    def quantiles(self, levels: tuple[float, ...]) -> Floats:
        """What nobody may know exactly: ``(CELLS, levels)`` quantiles of all requests of a cell."""
        return np.array([np.quantile(self.values[rows], levels) for rows in self.by_cell()])


def make_fleet(installations: int, shape: Shape, seed: int) -> Fleet:
    """The same fleet for the same arguments."""
    rng = np.random.default_rng((seed, installations, SHAPES.index(shape)))
    popularity = 1 / np.arange(1, CELLS + 1)
    wanted = rng.choice(HABITS, installations)
    pairs = picks(rng, popularity / popularity.sum(), wanted)
    order = np.argsort(pairs[:, 1], kind="stable")
    numbers, cell = pairs[order].T
    return Fleet(numbers, cell, wanted[numbers], _values(rng, shape, cell))


def picks(rng: np.random.Generator, popularity: Floats, wanted: Ints) -> Ints:
    """Pairs of an installation and a cell, no pair twice: whoever drew a cell twice draws again."""
    cells = len(popularity)
    pairs = np.empty(0, dtype=np.int64)  # installation * cells + cell
    missing = wanted
    while missing.any():
        numbers = np.repeat(np.arange(len(wanted)), missing)
        drawn = numbers * cells + rng.choice(cells, len(numbers), p=popularity)
        pairs = np.unique(np.concatenate((pairs, drawn)))
        missing = wanted - np.bincount(pairs // cells, minlength=len(wanted))
    return np.column_stack((pairs // cells, pairs % cells))


def _values(rng: np.random.Generator, shape: Shape, cell: Ints) -> Floats:
    centre = rng.uniform(np.log(0.01), np.log(5), CELLS)[cell]
    width = rng.uniform(0.3, 0.8, CELLS)[cell]
    own = centre + width * (
        rng.standard_t(3, len(cell)) if shape == "heavy-tailed" else rng.normal(0, 1, len(cell))
    )
    if shape == "bimodal":
        own = own + np.where(rng.random(len(cell)) < 0.3, 1.6, 0)
    seconds = np.exp(own[:, None] + rng.normal(0, 0.25, (len(cell), REQUESTS)))
    return np.clip(seconds, LOW, HIGH)
