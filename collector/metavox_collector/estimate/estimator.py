"""Noisy spread histogram -> estimate: a first look, the prior about it, the posterior, figures with intervals.

All of this is post-processing: it sees nothing but the release, so it costs no privacy, and the seed of its draws
is a constant that anybody may know. The same release has the same figures
to within a thousandth: how a machine's linear algebra rounds makes the rest.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import lru_cache

import numpy as np

from metavox_collector.estimate.axis import Array, Axis, axis_of
from metavox_collector.estimate.bumps import first_look
from metavox_collector.estimate.figures import FIGURES, QUANTILES, Estimate, Figure, log_figures
from metavox_collector.estimate.posterior import posterior_draws
from metavox_collector.estimate.prior import family_about
from metavox_collector.estimate.rate import estimate_rate
from metavox_privacy.fields import Metric
from metavox_privacy.processes import workers
from metavox_privacy.smoothing import squared_norm

DRAWS = 400
"""Histograms drawn for each estimate; an interval's ends then vary by a twelfth of its half width."""

MANY = 200
"""From so many histograms on, 15 ms each, it pays to start other processes, which takes a second."""

_THREADS = "OPENBLAS_NUM_THREADS"

WITHIN = 2.0
"""A figure is given when both ends of its interval are within this factor of it."""

STRETCH = 1.05
"""By how much the posterior's intervals are widened, in the logarithm: the prior is about a first look at the same
data, and some truths are sharper than all of it. Found on simulated fleets (``python -m tests.bench.coverage
--calibrate``), and tested on others.
"""

LEAST_HALF = 0.03
"""No interval is narrower than this part of a bucket on both sides, half a percent: a bucket's content is taken to
be even inside, and of the few values that a memory has it is not.
"""

NEEDS = {"mean": "p95"}
"""What must be given too: a mean is made by its tail, and of a tail that noise hides its interval knows nothing."""


def estimate_all(
    histograms: Iterable[tuple[Metric, Sequence[int], float]], processes: int | None = None
) -> list[Estimate]:
    """Estimate each of many, in their order.

    Args:
        histograms: The arguments of :func:`estimate`.
        processes: How many share the work; one per processor when None, and one for a few histograms.
    """
    jobs = list(histograms)
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if len(jobs) >= MANY else 1
    if processes > 1:
        # Where one of them is killed, as for want of memory, this process alone takes longer and less of it.
        with suppress(BrokenProcessPool), _one_thread_each(), workers(processes) as pool:
            return list(pool.map(estimate, *zip(*jobs, strict=True), chunksize=16))
    return list(itertools.starmap(estimate, jobs))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started use one thread for linear algebra; more would wait for each other's processors."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def estimate(metric: Metric, noisy: Sequence[int], scale: float) -> Estimate:
    """What one noisy histogram says of its metric.

    Args:
        metric: What was measured.
        noisy: Units by spread bucket, of length ``spread_buckets(metric)``; may be negative.
        scale: Standard deviation of the noise on each, above zero.
    """
    values = np.asarray(noisy, dtype=np.float64)
    if metric.is_rate:
        return estimate_rate(values, scale)
    found = possible_truths(metric, values, scale)
    if found is None:
        return Estimate((), dict.fromkeys(FIGURES), 0.0)
    axis = axis_of(metric.edges)
    low, middle, high = intervals(log_figures(found, axis), axis)
    shares = (found / found.sum(axis=1, keepdims=True)).mean(axis=0)
    signal = float(np.median(found.sum(axis=1))) * math.sqrt(squared_norm(metric)) / scale
    return Estimate(tuple(map(float, shares)), _given(low, middle, high), signal)


def possible_truths(metric: Metric, noisy: Array, scale: float) -> Array | None:
    """Histograms (DRAWS, buckets), in units, that may be under the noise; None where noise is all there is."""
    look = first_look(metric.edges, noisy, scale)
    if look is None:
        return None
    axis = axis_of(metric.edges)
    family = family_about(look, axis, float(look.sum()) * math.sqrt(squared_norm(metric)) / scale)
    spreading = axis.spreading
    kept = slice(family.first, family.first + len(family.start))
    reached = slice(kept.start, kept.stop + len(spreading) - metric.buckets)
    found = np.zeros((DRAWS, metric.buckets))
    found[:, kept] = posterior_draws(noisy[reached] / scale, spreading[reached, kept] / scale, family, _normals())
    return found


def intervals(logs: Array, axis: Axis) -> tuple[Array, Array, Array]:
    """Lower end, middle and upper end of every figure's interval, of the draws' logarithms (draws, figures).

    A higher quantile is not below what a lower one is at least, nor a lower one above what a higher one is at most.
    """
    low, middle, high = np.quantile(logs, (0.025, 0.5, 0.975), axis=0)
    least = LEAST_HALF * axis.unit
    below, above = np.maximum(STRETCH * (middle - low), least), np.maximum(STRETCH * (high - middle), least)
    low, high = middle - below, middle + above
    quantiles = slice(len(QUANTILES))
    low[quantiles] = np.maximum.accumulate(low[quantiles])
    high[quantiles] = np.minimum.accumulate(high[quantiles][::-1])[::-1]
    return low, middle, high


def _given(low: Array, middle: Array, high: Array) -> dict[str, Figure | None]:
    near = dict(zip(FIGURES, np.maximum(middle - low, high - middle) <= math.log(WITHIN), strict=True))
    values = zip(FIGURES, np.exp(middle).tolist(), np.exp(low).tolist(), np.exp(high).tolist(), strict=True)
    return {
        name: Figure(value, least, most) if near[name] and near[NEEDS.get(name, name)] else None
        for name, value, least, most in values
    }


@lru_cache(maxsize=1)
def _normals() -> Array:
    """The same for every histogram."""
    return np.random.default_rng(20260101).standard_normal((DRAWS, 128))
