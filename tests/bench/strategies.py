"""What the noise is added to, compared at equal ρ: kernels, trees, wavelets, an optimised strategy, two passes.

``python -m tests.bench.strategies`` prints p50, p90 and p99's median relative errors over 200 cells of 100,000
installations at ε = 1 and δ = 1e-8, and writes ``out/strategies.json``. Every strategy is a matrix whose columns
have an L2 norm of at most 1, so each is given noise of the same scale, and all are read by the same estimate
(``private_releases/penalised.py``). The noise is not rounded, and seeded: right for a benchmark, never for a
release.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import KERNEL
from tests.bench.private_releases import ours
from tests.bench.private_releases.errors import LEVELS, relative
from tests.bench.private_releases.fleet import SHAPES, Floats, make_fleet
from tests.bench.private_releases.penalised import Estimator

BUCKETS = ours.METRIC.buckets
SEEDS = (1, 2)
FIRST_PASS = 0.25
"""The part of ρ that two passes spend on finding how wide a cell's distribution is."""


def toeplitz(kernel: Floats) -> Floats:
    """Every bucket spread by a kernel, nothing lost at the ends."""
    matrix = np.zeros((BUCKETS + len(kernel) - 1, BUCKETS))
    for bucket in range(BUCKETS):
        matrix[bucket : bucket + len(kernel), bucket] = kernel
    return matrix


def bell(deviation: float) -> Floats:
    """A Gaussian kernel."""
    reach = math.ceil(2.67 * deviation)
    weights: Floats = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    return weights


def less_wide(narrow: Floats, wide: Floats) -> Floats:
    """A bell with negative sides, blind to what is far wider: a difference of two of sum 1, the wide one halved."""
    around = (len(wide) - len(narrow)) // 2
    return np.pad(narrow / narrow.sum(), around) - 0.5 * wide / wide.sum()


def tree(branches: int) -> Floats:
    """Sums over blocks of 1, b, b², ... buckets (Hay et al. 2010)."""
    levels = [np.kron(np.eye(BUCKETS // size), np.ones(size)) for size in _sizes(branches)]
    return np.concatenate(levels)


def _sizes(branches: int) -> Iterator[int]:
    size = 1
    while size <= BUCKETS:
        yield size
        size *= branches


def haar() -> Floats:
    """The Haar wavelet (Privelet: Xiao, Wang and Gehrke 2010), all rows alike."""
    waves = [np.kron(np.eye(BUCKETS // size), np.repeat([1.0, -1.0], size // 2)) for size in _sizes(2) if size > 1]
    return np.concatenate([np.ones((1, BUCKETS)), *waves])


def prefix_root(band: int) -> Floats:
    """The matrix of prefix sums' square root, banded: near optimal for cumulative sums (Henzinger et al. 2023)."""
    weights = np.cumprod([1.0, *((2 * k - 1) / (2 * k) for k in range(1, band))])
    return toeplitz(weights)


STRATEGIES = {
    "plain histogram": np.eye(BUCKETS),
    "Gaussian kernel, 1 bucket": toeplitz(bell(1.0)),
    "Gaussian kernel, 1.5 buckets (ships)": toeplitz(np.array(KERNEL, dtype=float)),
    "Gaussian kernel, 2 buckets": toeplitz(bell(2.0)),
    "Gaussian kernel, 3 buckets": toeplitz(bell(3.0)),
    "kernel of 2 buckets less half of one of 6": toeplitz(less_wide(bell(2.0), bell(6.0))),
    "tree of 2": tree(2),
    "tree of 4": tree(4),
    "Haar wavelet": haar(),
    "prefix sums' root": prefix_root(BUCKETS),
    "prefix sums' root, band of 12": prefix_root(12),
}


def normal(strategy: Floats) -> Floats:
    """The strategy with its worst column at a norm of 1."""
    scaled: Floats = strategy / np.sqrt((strategy**2).sum(axis=0).max())
    return scaled


def main() -> None:
    """Measure, print and write."""
    rng = np.random.default_rng(11)
    scale = SCHEMA.units / math.sqrt(2 * ours.rho_of(1.0) / 1e9 * 0.98)
    levels = tuple(LEVELS.values())
    found: dict[str, dict[str, list[float]]] = {}
    for shape in SHAPES:
        fleets = [make_fleet(100_000, shape, seed) for seed in SEEDS]
        sums = np.concatenate([ours.exact_sums(fleet) for fleet in fleets])
        exact = np.concatenate([fleet.quantiles(levels) for fleet in fleets])
        for name, matrix in STRATEGIES.items():
            strategy = normal(matrix)
            noisy = sums @ strategy.T + rng.normal(0, scale, (len(sums), len(strategy)))
            estimator = Estimator(ours.METRIC.edges, strategy)
            errors = relative(estimator.quantiles(estimator(noisy, scale), levels), exact)
            found.setdefault(name, {})[shape] = np.median(errors, axis=0).tolist()
        errors = relative(two_passes(sums, scale, rng, levels), exact)
        found.setdefault("two passes: width, then a kernel to fit", {})[shape] = np.median(errors, axis=0).tolist()
    show(found)


def two_passes(sums: Floats, scale: float, rng: np.random.Generator, levels: tuple[float, ...]) -> Floats:
    """A quarter of ρ tells how wide each cell is, the rest is spread by a kernel as wide as that permits."""
    first = normal(STRATEGIES["Gaussian kernel, 1.5 buckets (ships)"]) * math.sqrt(FIRST_PASS)
    seen = sums @ first.T + rng.normal(0, scale, (len(sums), len(first)))
    estimator = Estimator(ours.METRIC.edges, first)
    shares = estimator(seen, scale)
    shares = shares / shares.sum(axis=1, keepdims=True)
    places = np.arange(BUCKETS)
    middle = shares @ places
    deviations = np.sqrt(np.maximum(shares @ places**2 - middle**2, 0))
    chosen = np.array((1.0, 1.5, 2.0, 3.0))[np.digitize(deviations / 2, (1.25, 1.75, 2.5))]
    result = np.empty((len(sums), len(levels)))
    for deviation in np.unique(chosen):
        rows = chosen == deviation
        second = normal(toeplitz(bell(float(deviation)))) * math.sqrt(1 - FIRST_PASS)
        more = sums[rows] @ second.T + rng.normal(0, scale, (int(rows.sum()), len(second)))
        both = Estimator(ours.METRIC.edges, np.concatenate((first, second)))
        estimate = both(np.concatenate((seen[rows], more), axis=1), scale)
        result[rows] = both.quantiles(estimate, levels)
    return result


def show(found: dict[str, dict[str, list[float]]]) -> None:
    """Print a line a strategy and write the JSON."""
    table = Table("strategy", *(f"{shape} {level}" for shape in SHAPES for level in LEVELS))
    for name, by_shape in found.items():
        table.add_row(name, *(f"{error:.1%}" for shape in SHAPES for error in by_shape[shape]))
    Console(width=160).print(table)
    out = Path("out/strategies.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
