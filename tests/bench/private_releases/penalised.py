"""An estimate that suits any strategy matrix, many cells at once: a penalised logarithm of the density.

The histogram is ``width * exp(h)``, and third differences of ``h`` are penalised (Silverman 1982), so that a cell
of which the noise says little becomes a log-normal. How much is weighed by the evidence in Laplace's approximation.
The shipped estimate is of the same family; this one is for comparing strategies, which it treats alike.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from tests.bench.private_releases.fleet import Floats

PENALTIES = (1e6, 1e4, 1e3, 1e2, 1e1, 1.0)
DEVIATIONS = (0.4, 0.6, 1.0, 1.6, 2.5, 4.0, 6.0, 9.0)
ROUNDS = 40


class Estimator:
    """For one metric's buckets and one strategy.

    Args:
        edges: Inner bucket edges.
        strategy: Histogram -> what is released, ``(numbers, buckets)``.
    """

    def __init__(self, edges: tuple[float, ...], strategy: Floats) -> None:
        logs = np.log(edges)
        self.ends = np.concatenate(([2 * logs[0] - logs[1]], logs, [2 * logs[-1] - logs[-2]]))
        self.width = np.diff(self.ends)
        self.middle = (self.ends[1:] + self.ends[:-1]) / 2
        self.strategy = strategy
        rough, places = np.eye(len(self.width)), self.middle
        for _ in range(3):
            rough = np.diff(rough, axis=0) / np.diff(places)[:, None]
            places = (places[1:] + places[:-1]) / 2
        rough = rough * self.width.mean() ** 3
        self.penalty = rough.T @ rough

    def __call__(self, noisy: Floats, scale: float) -> Floats:
        """Estimated histograms ``(cells, buckets)`` of noisy numbers ``(cells, numbers)``."""
        seen, strategy = noisy / scale, self.strategy / scale
        logs = self._start(seen, strategy)
        histograms, evidence = [], []
        for weight in PENALTIES:
            logs, worth = self._mode(logs, seen, strategy, weight)
            histograms.append(self._content(logs))
            evidence.append(worth)
        weights = np.exp(np.array(evidence) - np.max(evidence, axis=0))
        return np.einsum("lc,lcb->cb", weights / weights.sum(axis=0), np.array(histograms))

    def quantiles(self, histograms: Floats, levels: tuple[float, ...]) -> Floats:
        """Quantiles ``(cells, levels)``, interpolated in the logarithm."""
        below = np.cumsum(histograms, axis=1) / histograms.sum(axis=1, keepdims=True)
        steps = np.pad(below, ((0, 0), (1, 0))) + np.arange(len(self.ends)) * 1e-13  # ascending where nothing is
        return np.exp([[np.interp(level, row, self.ends) for level in levels] for row in steps])

    def _content(self, logs: Floats) -> Floats:
        content: Floats = self.width * np.exp(np.clip(logs, -60, 25))
        return content

    def _start(self, seen: Floats, strategy: Floats) -> Floats:
        """The best normal of a grid."""
        grid = [(m, d * self.width.mean()) for d in DEVIATIONS for m in self.middle]
        shapes = np.array([np.diff(norm.cdf(self.ends, centre, deviation)) for centre, deviation in grid])
        spread = shapes @ strategy.T
        norms, matches = (spread**2).sum(axis=1), seen @ spread.T
        best = np.where(matches > 0, matches**2 / norms, 0).argmax(axis=1)
        height = np.maximum(matches[np.arange(len(seen)), best] / norms[best], 1.0)
        centre, deviation = np.array(grid)[best].T[:, :, None]
        away: Floats = (self.middle - centre) / deviation
        return np.log(height)[:, None] - 0.5 * away**2 - np.log(deviation * np.sqrt(2 * np.pi))

    def _mode(self, logs: Floats, seen: Floats, strategy: Floats, weight: float) -> tuple[Floats, Floats]:
        """Levenberg-Marquardt for all cells that still move, and each one's evidence."""
        inner, buckets = strategy.T @ strategy, len(self.width)
        diagonal = np.arange(buckets)

        def look(at: Floats, rows: Floats) -> tuple[Floats, Floats, Floats]:
            content = self._content(at)
            left = content @ strategy.T - rows
            cost = 0.5 * (left**2).sum(axis=1) + 0.5 * weight * ((at @ self.penalty) * at).sum(axis=1)
            return cost, content, left

        cost, content, left = look(logs, seen)
        logs, damping, active = logs.copy(), np.full(len(seen), 1e-3), np.arange(len(seen))
        for _ in range(ROUNDS):
            here = content[active]
            slope = here * (left[active] @ strategy) + weight * logs[active] @ self.penalty
            curve = here[:, :, None] * inner * here[:, None, :] + weight * self.penalty
            curve[:, diagonal, diagonal] += damping[active, None]
            step = -np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
            step *= np.minimum(1, 4 / np.abs(step).max(axis=1))[:, None]
            there, content_there, left_there = look(logs[active] + step, seen[active])
            better = there <= cost[active]
            gain, moved = cost[active] - there, active[better]
            logs[moved] += step[better]
            cost[moved], content[moved], left[moved] = there[better], content_there[better], left_there[better]
            damping[active] = np.where(better, np.maximum(damping[active] / 5, 1e-6), damping[active] * 10)
            active = active[~(better & (gain < 1e-3)) & (damping[active] < 1e8)]
            if len(active) == 0:
                break
        curve = content[:, :, None] * inner * content[:, None, :] + weight * self.penalty
        curve[:, diagonal, diagonal] += 1e-6
        evidence = -cost + 0.5 * (buckets - 3) * np.log(weight) - 0.5 * np.linalg.slogdet(curve)[1]
        return logs, evidence
