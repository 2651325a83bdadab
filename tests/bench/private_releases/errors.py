"""How far released figures are from the truth, and how many of them there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metavox_collector.estimate import Estimate
from metavox_privacy.estimate import quantile
from tests.bench.private_releases.fleet import Floats

LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
NOTHING = 1.0
"""The error of a cell of which nothing was released: as if zero had been."""


def figures(found: Sequence[Estimate], edges: tuple[float, ...]) -> Floats:
    """``(cells, levels)``: the figure, or where its interval is too wide for one, the released histogram's."""
    rows = [
        [
            figure.value if (figure := one.figures[name]) else quantile(one.shares, edges, level) or np.nan
            for name, level in LEVELS.items()
        ]
        for one in found
    ]
    return np.array(rows, dtype=float)


def given(found: Sequence[Estimate]) -> dict[str, float]:
    """The share of cells whose figure is given, with an interval."""
    return {name: float(np.mean([one.figures[name] is not None for one in found])) for name in LEVELS}


def relative(released: Floats, exact: Floats) -> Floats:
    """Relative errors; what was not released counts as :data:`NOTHING`."""
    return np.where(np.isnan(released), NOTHING, np.abs(released / exact - 1))


def summary(errors: Floats) -> dict[str, dict[str, float]]:
    """The median over cells and the 90th percentile, by figure."""
    return {
        name: {"median": float(np.median(column)), "ninth": float(np.quantile(column, 0.9))}
        for name, column in zip(LEVELS, errors.T, strict=True)
    }
