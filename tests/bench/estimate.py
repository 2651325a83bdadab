"""How near the released figures are to the truth, by what the noise left of a cell.

``make bench`` prints the median and the 95th percentile of the relative error for every figure, for several
penalties of the support search, and writes ``out/bench/estimate.json``. The cells are synthetic: latencies of 200
to 12,000 installations, each with its own log-normal centre, a quarter of the cells with a second hump. The noise
is a rounded normal from a seeded generator at the shipped scale: right for a benchmark, never for a release.
"""

from __future__ import annotations

import bisect
import json
import math
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from metavox_collector.dataset.columns import QUANTILES
from metavox_privacy import estimate
from metavox_privacy.cells import squared_histogram_sensitivity
from metavox_privacy.schema import SCHEMA

TABLE = SCHEMA.tables[0]
METRIC = SCHEMA.metric["time_per_output_token"]
NANO_RHO = 10_000_000
SCALE = math.sqrt(
    squared_histogram_sensitivity(TABLE, SCHEMA) / (2 * NANO_RHO / 1e9 * TABLE.histogram_permille / 1000)
)
PENALTIES = (0.5, 0.75, 1.0, 1.25, 1.5)
SIGNALS = (0, 3, 5, 6, 8, 10, 12, 16, 24, 48)
CELLS = 4000
REQUESTS = 4  # of one installation


@dataclass(frozen=True)
class Cell:
    """A noisy histogram, and the exact figures of the values in it."""

    noisy: list[int]
    exact: dict[str, float]


def cell(rng: random.Random) -> Cell:
    """One cell of a size, a place and a shape drawn at random."""
    installations = round(math.exp(rng.uniform(math.log(200), math.log(12_000))))
    centre, spread = rng.uniform(math.log(0.002), math.log(0.3)), rng.uniform(0.1, 0.6)
    second = 0.4 if rng.random() < 0.25 else 0.0
    owns = [rng.gauss(centre, spread) + (1.2 if rng.random() < second else 0) for _ in range(installations)]
    values = sorted(math.exp(own + rng.gauss(0, 0.15)) for own in owns for _ in range(REQUESTS))
    counts = [0] * METRIC.buckets
    for value in values:
        bucket = METRIC.observe({METRIC.source: value})
        assert bucket is not None
        counts[bucket] += SCHEMA.units // REQUESTS
    exact = {name: values[int(q * len(values))] for name, q in QUANTILES.items()}
    return Cell([round(n + rng.gauss(0, SCALE)) for n in counts], {**exact, "mean": sum(values) / len(values)})


def errors(cells: list[Cell], penalty: float) -> dict[int, dict[str, list[float]]]:
    """Relative errors by the lower end of the signal and by figure, ascending; no figure counts as 100 %."""
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in cells:
        signal = estimate.signal_to_noise(one.noisy, SCALE, penalty)
        weights = estimate.denoise(one.noisy, SCALE, penalty)
        figures = {name: estimate.quantile(weights, METRIC.edges, q) for name, q in QUANTILES.items()}
        figures["mean"] = estimate.mean(weights, METRIC.edges)
        for name, value in figures.items():
            error = 1.0 if value is None else abs(value / one.exact[name] - 1)
            found[SIGNALS[bisect.bisect(SIGNALS, signal) - 1]][name].append(error)
    return {low: {name: sorted(values) for name, values in found[low].items()} for low in sorted(found)}


def main() -> None:
    """Print a line for each penalty and signal, the median and the 95th percentile, then write the JSON."""
    rng = random.Random(5)
    cells = [cell(rng) for _ in range(CELLS)]
    noise = sorted(noise_alone(rng) for _ in range(CELLS))
    print(f"noise alone: signal to noise {noise[CELLS // 2]:.1f}, in one of a hundred {noise[-CELLS // 100]:.1f}")
    results = []
    for penalty in PENALTIES:
        for low, figures in errors(cells, penalty).items():
            cuts = {name: (e[len(e) // 2], e[int(0.95 * len(e))]) for name, e in figures.items()}
            shown = "  ".join(f"{name} {median:5.1%} {worst:6.0%}" for name, (median, worst) in cuts.items())
            print(f"penalty {penalty:<4}  signal from {low:>2}  {len(figures['p50']):4} cells  {shown}")
            results.append({"penalty": penalty, "signal_from": low, "cells": len(figures["p50"]), "error": cuts})
    out = Path("out/bench/estimate.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"scale": SCALE, "nano_rho": NANO_RHO, "results": results}, indent=1) + "\n")
    print(f"wrote {out}")


def noise_alone(rng: random.Random) -> float:
    """What the signal seems to be where there is none."""
    return estimate.signal_to_noise([round(rng.gauss(0, SCALE)) for _ in range(METRIC.buckets)], SCALE)


if __name__ == "__main__":
    main()
