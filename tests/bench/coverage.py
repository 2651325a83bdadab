"""How often an estimate's 95 % intervals hold what they promise, at the shipped budget.

``python -m tests.bench.coverage`` prints a table of coverage by figure, shape and signal to noise, and writes
``out/bench/coverage.json``. ``--calibrate`` prints by how much the posterior's own intervals would have to be
widened for 95 % on the shapes that they were calibrated on; the others, and the simulated fleet, were never looked
at for that. A cell's size is drawn as for 100,000 installations over 200 cells by Zipf's law. The noise is a
rounded normal from a seeded generator at the shipped scale: right for a benchmark, never for a release.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metavox_collector.estimate.axis import axis_of
from metavox_collector.estimate.estimator import STRETCH, estimate, estimate_all
from metavox_collector.estimate.figures import FIGURES, log_figures
from metavox_collector.settings import Settings
from metavox_collector.simulate.fleet import fleet
from metavox_privacy.cells import fold, squared_histogram_sensitivity, weight
from metavox_privacy.fields import Metric
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import spread
from metavox_privacy.week import Week

Array = NDArray[np.float64]
Rng = np.random.Generator

INSTALLATIONS = 100_000
CELLS = 200
HABITS = (1, 1, 1, 2, 2, 3)
REQUESTS = 16
TABLE = SCHEMA.tables[0]
NANO_RHO = Settings.model_fields["publish_nano_rho"].default
SIGNALS = (0, 10, 20, 40, 80, math.inf)

TTFT, TPOT, MEMORY = (
    SCHEMA.metric[name] for name in ("time_to_first_token", "time_per_output_token", "peak_device_memory")
)


@dataclass(frozen=True)
class Cell:
    """The exact sums of a cell's contributors."""

    metric: Metric
    units: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What one estimate promised and what was so.

    Attributes:
        signal: The estimate's signal to noise.
        ratios: By figure that was given, how far the truth is from it, in half widths of the interval on that side.
        errors: By figure that was given, the relative error.
    """

    signal: float
    ratios: Mapping[str, float]
    errors: Mapping[str, float]


def values_of(shape: str, contributors: int, rng: Rng) -> tuple[Metric, Array]:
    """The seconds or bytes of each contributor's requests, (contributors, REQUESTS)."""
    metric, draw = SHAPES[shape]
    return metric, np.exp(draw(contributors, rng))


def _scattered(own: Array, deviation: float, rng: Rng) -> Array:
    return own[:, None] + rng.normal(0, deviation, (len(own), REQUESTS))


def _place(rng: Rng) -> float:
    return float(rng.uniform(math.log(0.01), math.log(5)))


def _log_normal(n: int, rng: Rng) -> Array:
    return _scattered(rng.normal(_place(rng), rng.uniform(0.3, 0.8), n), 0.25, rng)


def _bimodal(n: int, rng: Rng) -> Array:
    own = rng.normal(_place(rng), rng.uniform(0.3, 0.8), n) + 1.6 * (rng.random(n) < 0.3)
    return _scattered(own, 0.25, rng)


def _heavy(n: int, rng: Rng) -> Array:
    return _scattered(_place(rng) + rng.uniform(0.3, 0.8) * rng.standard_t(3, n), 0.25, rng)


def _prompts(n: int, rng: Rng) -> Array:
    own = rng.uniform(math.log(0.05), math.log(2)) + rng.normal(0, 0.15, n)
    return _scattered(own + np.log(0.3 + 0.7 * rng.choice((40, 180, 700, 2500), n) / 256), 0.25, rng)


def _narrow(n: int, rng: Rng) -> Array:
    return _scattered(rng.normal(rng.uniform(math.log(0.004), math.log(0.2)), 0.15, n), 0.12, rng)


def _spikes(n: int, rng: Rng) -> Array:
    weights = math.exp(rng.uniform(math.log(5e8), math.log(6e10)))
    used = weights + rng.choice((40, 180, 700, 2500), n) * math.sqrt(weights / 2) * 16
    return np.repeat((np.log(used * 1.15 + 2e8) + rng.normal(0, 0.03, n))[:, None], REQUESTS, axis=1)


def _gamma(n: int, rng: Rng) -> Array:
    return _scattered(_place(rng) + np.log(rng.gamma(rng.uniform(1.5, 8), 0.3, n)), 0.2, rng)


def _even(n: int, rng: Rng) -> Array:
    return _scattered(_place(rng) + rng.uniform(0, rng.uniform(0.8, 2.5), n), 0.1, rng)


def _humps(n: int, rng: Rng) -> Array:
    middles, parts = rng.uniform(-1.5, 1.5, 3), rng.dirichlet((3, 3, 3))
    return _scattered(_place(rng) + rng.choice(middles, n, p=parts) + rng.normal(0, 0.25, n), 0.2, rng)


def _pareto(n: int, rng: Rng) -> Array:
    return _scattered(_place(rng) + rng.laplace(0, rng.uniform(0.2, 0.45), n), 0.2, rng)


def _steady(n: int, rng: Rng) -> Array:
    return _scattered(rng.uniform(math.log(0.004), math.log(0.2)) + rng.logistic(0, 0.1, n), 0.08, rng)


CALIBRATED: dict[str, tuple[Metric, Callable[[int, Rng], Array]]] = {
    "log-normal": (TTFT, _log_normal),
    "bimodal": (TTFT, _bimodal),
    "heavy-tailed": (TTFT, _heavy),
    "four prompt sizes": (TTFT, _prompts),
    "narrow": (TPOT, _narrow),
    "memory spikes": (MEMORY, _spikes),
}
HELD_OUT: dict[str, tuple[Metric, Callable[[int, Rng], Array]]] = {
    "gamma": (TTFT, _gamma),
    "even": (TTFT, _even),
    "three humps": (TTFT, _humps),
    "two-sided Pareto": (TTFT, _pareto),
    "steady": (TPOT, _steady),
}
SHAPES = {**CALIBRATED, **HELD_OUT}
SIMULATED = "simulated fleet"


@lru_cache(maxsize=8)
def scale_of(metric: Metric) -> float:
    """The standard deviation of the shipped noise."""
    rho = NANO_RHO / 1e9 * TABLE.metrics[metric.name] / 1000
    return math.sqrt(squared_histogram_sensitivity(metric, SCHEMA, 1) / (2 * rho))


def sizes(rng: Rng, cells: int) -> Iterator[int]:
    """Contributors of cells, drawn from those that hold nine tenths of the contributions."""
    parts = 1 / np.arange(1, CELLS + 1)
    kept = int(np.searchsorted(np.cumsum(parts) / parts.sum(), 0.9)) + 1
    for rank in rng.integers(0, kept, cells):
        yield int(INSTALLATIONS * np.mean(HABITS) * parts[rank] / parts.sum())


def cells_of(shape: str, cells: int, seed: int) -> Iterator[Cell]:
    """Cells of a shape, each with a place and a width of its own."""
    rng = np.random.default_rng((seed, [*SHAPES].index(shape)))
    for contributors in sizes(rng, cells):
        metric, values = values_of(shape, contributors, rng)
        found = np.searchsorted(metric.edges, values)
        units = np.array([weight(k, SCHEMA.units) for k in rng.choice(HABITS, contributors)]) / REQUESTS
        sums = np.bincount(found.ravel(), np.repeat(units, REQUESTS), metric.buckets)
        yield Cell(metric, tuple(np.round(sums).astype(int).tolist()))


def simulated_cells(installations: int, seed: int) -> Iterator[Cell]:
    """The cells of a simulated fleet, through the real fold, as if each installation were many."""
    week = Week.parse("2026-W47")
    tables = fold(fleet(installations, week, SCHEMA, seed=seed), SCHEMA, SCHEMA.tables)
    times = INSTALLATIONS // installations
    for cell in tables[TABLE.name].values():
        for name, units in cell.histograms.items():
            if cell.contributors * times >= 100 and not SCHEMA.metric[name].is_rate:
                yield Cell(SCHEMA.metric[name], tuple(times * unit for unit in units))


def outcome(numbered: tuple[int, Cell], seed: int) -> Outcome:
    """One estimate beside the truth."""
    number, cell = numbered
    rng = np.random.default_rng((seed, number, 1))
    clean = np.array(spread(cell.units, cell.metric))
    scale = scale_of(cell.metric)
    noisy = np.round(clean + rng.normal(0, scale, len(clean))).astype(int).tolist()
    found = estimate(cell.metric, noisy, scale)
    truth = log_figures(np.array([cell.units], dtype=np.float64), axis_of(cell.metric.edges))[0]
    ratios, errors = {}, {}
    for name, exact in zip(FIGURES, truth.tolist(), strict=True):
        figure = found.figures[name]
        if figure is not None:
            away = exact - math.log(figure.value)
            half = math.log((figure.high if away > 0 else figure.low) / figure.value)
            ratios[name] = away / half if half else math.inf
            errors[name] = math.expm1(abs(away))
    return Outcome(found.signal_to_noise, ratios, errors)


def outcomes(cells: Iterable[Cell], seed: int) -> list[Outcome]:
    """Every estimate beside its truth, on every processor."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        return pool.map(partial(outcome, seed=seed), enumerate(cells), chunksize=8)


def coverage(found: Iterable[Outcome], name: str, times: float = 1.0) -> tuple[float, int]:
    """The part of a figure's intervals, were they so many times as wide, that hold the truth, and of how many."""
    ratios = [one.ratios[name] for one in found if name in one.ratios]
    return (sum(ratio <= times for ratio in ratios) / len(ratios) if ratios else math.nan), len(ratios)


def summary(found: list[Outcome]) -> dict[str, Any]:
    """By figure: coverage, the part of cells where it is given, and the median relative error there."""
    result = {}
    for name in FIGURES:
        held, given = coverage(found, name)
        errors = [one.errors[name] for one in found if name in one.errors]
        error = float(np.median(errors)) if errors else None
        result[name] = {"coverage": held if given else None, "given": given / len(found), "error": error}
    return {"cells": len(found), **result}


def show(title: str, found: list[Outcome]) -> dict[str, Any]:
    """Print a line and return what is in it."""
    shown = summary(found)
    words = [
        f"{name} {shown[name]['coverage']:6.1%} of {shown[name]['given']:4.0%}"
        if shown[name]["coverage"] is not None
        else f"{name}    -   of   0%"
        for name in FIGURES
    ]
    print(f"{title:32} {len(found):5}  {'  '.join(words)}", flush=True)
    return shown


def calibrate(cells: int, seed: int) -> None:
    """Print the factors that would make 95 % of the posterior's own intervals hold, on the calibrated shapes."""
    found = [one for shape in CALIBRATED for one in outcomes(cells_of(shape, cells, seed), seed)]
    for name in FIGURES:
        ratios = [one.ratios[name] for one in found if name in one.ratios]
        needed = STRETCH * float(np.quantile(ratios, 0.95))
        print(f"{name}: stretch {needed:.2f} by {len(ratios)} intervals (in use: {STRETCH})")


def main() -> None:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="print the factors that 95 %% would need")
    parser.add_argument("--cells", type=int, default=300, help="cells of each shape")
    parser.add_argument("--fleet", type=int, default=4000, help="simulated installations")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.calibrate:
        calibrate(options.cells, options.seed)
        return
    print("part of the 95 % intervals that hold the truth, of the cells where the figure is given")
    report: dict[str, Any] = {"nano_rho": NANO_RHO, "stretch": STRETCH, "shapes": {}}
    held_out: list[Outcome] = []
    for shape in (*SHAPES, SIMULATED):
        whole = shape == SIMULATED
        cells = (
            simulated_cells(options.fleet, options.seed) if whole else cells_of(shape, options.cells, options.seed)
        )
        found = outcomes(cells, options.seed)
        kind = "calibrated on" if shape in CALIBRATED else "held out"
        lines = {"all": show(f"{shape} ({kind})", found)}
        for low, high in itertools.pairwise(SIGNALS):
            part = [one for one in found if low <= one.signal < high]
            if part:
                lines[f"{low} to {high}"] = show(f"    signal {low} to {high}", part)
        report["shapes"][shape] = {"kind": kind, "by_signal": lines}
        held_out += found if shape not in CALIBRATED else []
    report["held_out"] = show("all that were held out", held_out)
    report["seconds_a_release"] = seconds_a_release()
    print(f"650 cells with 3 metrics, {report['seconds_a_release']:.0f} s")
    out = Path("out/bench/coverage.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {out}")


def seconds_a_release() -> float:
    """How long a release's 1,950 estimates take, with other processes to help."""
    jobs = []
    rng = np.random.default_rng(3)
    for shape in ("four prompt sizes", "narrow", "memory spikes"):
        for cell in cells_of(shape, 65, 3):
            scale = scale_of(cell.metric)
            noise = rng.normal(0, scale, cell.metric.buckets + 8)
            jobs.append(
                (cell.metric, np.round(spread(cell.units, cell.metric) + noise).astype(int).tolist(), scale)
            )
    jobs *= 10
    start = time.perf_counter()
    estimate_all(jobs)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
