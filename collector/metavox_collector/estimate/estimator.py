"""The estimate itself (thin: non-negative least squares on bumps; being deepened)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import norm

from metavox_collector.estimate.figures import QUANTILES, Estimate, Figure
from metavox_privacy.estimate import quantile
from metavox_privacy.fields import Metric
from metavox_privacy.smoothing import KERNEL, RADIUS, squared_norm

_WIDTHS = ((2.0, 3.2, 5.0), (1.2,), (0.6, 0.9), (0.25, 0.4))
_WORSE = 10.0
_PENALTY = 1.25
_DRAWS = 30

Array = NDArray[np.float64]


def estimate_all(histograms: Iterable[tuple[Metric, Sequence[int], float]]) -> list[Estimate]:
    """Estimate each of (metric, noisy spread histogram, scale of its noise)."""
    return [estimate(*one) for one in histograms]


def estimate(metric: Metric, noisy: Sequence[int], scale: float) -> Estimate:
    """Estimate one noisy spread histogram whose noise has the standard deviation ``scale``."""
    y = np.asarray(noisy, dtype=float)
    if metric.is_rate:
        return _rate(y, scale)
    dictionaries = _dictionaries(metric)
    kept = _support(y, scale)
    if kept is None:
        return Estimate((), dict.fromkeys((*QUANTILES, "mean")), 0.0)
    best: tuple[float, Array, Array] | None = None
    for atoms, centres in dictionaries:
        use = (centres >= kept[0]) & (centres < kept[1])
        if not use.any():
            continue
        design = _spread_matrix(metric.buckets) @ atoms[:, use] / scale
        weights, residual = nnls(design, y / scale)
        if best is None or residual**2 < best[0] - _WORSE:
            best = residual**2, design, atoms[:, use] @ weights
            basis = atoms[:, use]
    if best is not None:
        _, design, histogram = best
    if best is None or histogram.sum() <= 0:
        return Estimate((), dict.fromkeys((*QUANTILES, "mean")), 0.0)
    rng = np.random.default_rng(0)
    clean = _spread_matrix(metric.buckets) @ histogram / scale
    drawn = [
        _figures(metric, basis @ nnls(design, clean + rng.standard_normal(len(clean)))[0]) for _ in range(_DRAWS)
    ]
    point = _figures(metric, histogram)
    half = 1.96 * np.std(np.log(np.maximum(drawn, 1e-300)), axis=0)
    found = {
        name: Figure(value, value * math.exp(-h), value * math.exp(h)) if h < math.log(2) else None
        for name, value, h in zip((*QUANTILES, "mean"), point, half, strict=True)
    }
    signal = float(histogram.sum() / (scale / math.sqrt(squared_norm(metric))))
    return Estimate(tuple(map(float, histogram / histogram.sum())), found, signal)


def _rate(y: Array, scale: float) -> Estimate:
    total = float(y.sum())
    signal = total / scale
    if signal < 4:
        return Estimate((), {"share": None}, max(signal, 0.0))
    share = min(max(float(y[1]) / total, 0.0), 1.0)
    half = 1.96 * scale / total * math.hypot(share, 1 - share)
    return Estimate(
        (1 - share, share), {"share": Figure(share, max(share - half, 0), min(share + half, 1))}, signal
    )


def _figures(metric: Metric, histogram: Array) -> list[float]:
    values = [quantile(list(histogram), metric.edges, q) or 0.0 for q in QUANTILES.values()]
    return [*values, float(histogram @ np.exp(_middles(metric)) / max(histogram.sum(), 1e-300))]


@lru_cache
def _ends(metric_edges: tuple[float, ...]) -> Array:
    logs = np.log(metric_edges)
    return np.concatenate(([2 * logs[0] - logs[1]], logs, [2 * logs[-1] - logs[-2]]))


def _middles(metric: Metric) -> Array:
    ends = _ends(metric.edges)
    return (ends[1:] + ends[:-1]) / 2


_by_edges: dict[tuple[float, ...], list[tuple[Array, Array]]] = {}


def _dictionaries(metric: Metric) -> list[tuple[Array, Array]]:
    if metric.edges not in _by_edges:
        ends = _ends(metric.edges)
        bucket = float(np.mean(np.diff(ends)))
        atoms: list[Array] = []
        centres: list[float] = []
        result = []
        index = np.arange(len(ends))
        for widths in _WIDTHS:
            for width in widths:
                for centre in np.arange(ends[0], ends[-1], max(width / 2, 0.5) * bucket):
                    cut = norm.cdf((ends - centre) / (width * bucket))
                    cut[0], cut[-1] = 0, 1
                    atoms.append(np.diff(cut))
                    centres.append(float(np.interp(centre, ends, index)))
            result.append((np.array(atoms).T, np.array(centres)))
        _by_edges[metric.edges] = result
    return _by_edges[metric.edges]


@lru_cache
def _spread_matrix(buckets: int) -> Array:
    matrix = np.zeros((buckets + 2 * RADIUS, buckets))
    for bucket in range(buckets):
        matrix[bucket : bucket + len(KERNEL), bucket] = KERNEL
    return matrix


def _support(y: Array, scale: float) -> tuple[int, int] | None:
    best, found = -math.inf, (0, 0)
    start, total = 0, 0.0
    for index, value in enumerate(y):
        if total <= 0:
            start, total = index, 0.0
        total += value - _PENALTY * scale
        if total > best:
            best, found = total, (start, index + 1)
    low, high = found[0] - RADIUS, found[1] - RADIUS
    return (max(low, 0), min(max(high, low + 1), len(y) - 2 * RADIUS)) if best > 0 else None
