"""How near the released quantiles are to the truth, for several penalties of the support search.

``make bench`` prints relative errors as ratios to clipping negatives alone, at the shipped scale of noise, and
writes ``out/bench/estimate.json``. The fleet is synthetic: log-normal latencies, each installation with its own
centre. The noise is a rounded normal from a seeded generator: right for a benchmark, never for a release.
"""

from __future__ import annotations

import json
import math
import random
import statistics
from pathlib import Path

from metavox_privacy import estimate
from metavox_privacy.cells import squared_histogram_sensitivity
from metavox_privacy.schema import SCHEMA

TABLE = SCHEMA.tables[0]
METRIC = SCHEMA.metric["time_per_output_token"]
NANO_RHO = 10_000_000
SCALE = math.sqrt(
    squared_histogram_sensitivity(TABLE, SCHEMA) / (2 * NANO_RHO / 1e9 * TABLE.histogram_permille / 1000)
)
QUANTILES = (0.5, 0.9, 0.99)
PENALTIES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def trial(rng: random.Random, installations: int) -> tuple[list[int], list[float]]:
    """A noisy histogram and the exact quantiles of the values in it."""
    centre, spread = rng.uniform(math.log(0.002), math.log(0.3)), rng.uniform(0.2, 0.6)
    values = sorted(
        math.exp(own + rng.gauss(0, 0.15))
        for own in (rng.gauss(centre, spread) for _ in range(installations))
        for _ in range(8)
    )
    counts = [0] * METRIC.buckets
    for value in values:
        bucket = METRIC.observe({METRIC.source: value})
        assert bucket is not None
        counts[bucket] += SCHEMA.units // 8
    return [round(n + rng.gauss(0, SCALE)) for n in counts], [values[int(q * len(values))] for q in QUANTILES]


def errors(trials: list[tuple[list[int], list[float]]], penalty: float | None) -> dict[str, float]:
    """Median relative error by quantile; a penalty of None clips negatives and searches no support."""
    found: dict[str, list[float]] = {f"p{round(q * 100)}": [] for q in QUANTILES}
    for noisy, exact in trials:
        histogram = _denoised(noisy, penalty)
        for q, truth in zip(QUANTILES, exact, strict=True):
            value = estimate.quantile(histogram, METRIC.edges, q)
            found[f"p{round(q * 100)}"].append(abs(value - truth) / truth if value else 1.0)
    return {name: statistics.median(values) for name, values in found.items()}


def _denoised(noisy: list[int], penalty: float | None) -> list[float]:
    if penalty is None:
        return [float(max(n, 0)) for n in noisy]
    return estimate.denoise(noisy, SCALE, penalty)


def main() -> None:
    """Print a line for each fleet and penalty, then write the JSON."""
    results = []
    for installations in (250, 500, 1000, 3000):
        rng = random.Random(installations)
        trials = [trial(rng, installations) for _ in range(100)]
        clipped = errors(trials, None)
        for penalty in PENALTIES:
            mine = errors(trials, penalty)
            ratio = {name: mine[name] / clipped[name] for name in mine}
            results.append({"installations": installations, "penalty": penalty, "error": mine, "ratio": ratio})
            shown = "  ".join(f"{name} {mine[name]:7.1%} ({ratio[name]:.2f}x)" for name in mine)
            print(f"{installations:>5} installations  penalty {penalty:<4}  {shown}")
    out = Path("out/bench/estimate.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"scale": SCALE, "nano_rho": NANO_RHO, "results": results}, indent=1) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
