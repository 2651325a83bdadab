"""Accuracy of a private release, beside PipelineDP, diffprivlib and OpenDP's quantiles, on the same fleets."""

from __future__ import annotations

import numpy as np

from tests.bench.private_releases import ours
from tests.bench.private_releases.fleet import SHAPES, make_fleet

LEVELS = (0.5, 0.9, 0.99)


def main() -> None:
    for shape in SHAPES:
        fleet = make_fleet(100_000, shape, 1)
        exact = fleet.quantiles(LEVELS)
        found = ours.release(ours.exact_sums(fleet), ours.rho_of(1.0))
        figures = [[one.figures[name] for name in ("p50", "p90", "p99")] for one in found]
        errors = np.array(
            [
                [1.0 if f is None else abs(f.value / e - 1) for f, e in zip(row, true, strict=True)]
                for row, true in zip(figures, exact, strict=True)
            ]
        )
        print(shape, np.round(np.median(errors, axis=0) * 100, 2))


if __name__ == "__main__":
    main()
