"""Public bucket edges: log-spaced, and nesting into the edges that OpenTelemetry advises.

Buckets follow OpenTelemetry's explicit-bucket histograms: bucket ``i`` holds ``edges[i-1] < v <=
edges[i]``, the first has no lower end and the last no upper one, so ``n`` edges make ``n + 1`` buckets.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence


def log_spaced_edges(anchors: Sequence[float], *, low: float, high: float, buckets: int) -> tuple[float, ...]:
    """Edges from ``low`` to ``high`` that contain every anchor, the gaps between them split evenly in log space.

    Each further edge goes to the gap whose parts are widest, so the finest resolution possible is spent
    evenly while a coarser histogram on the anchors can be had by plain addition of buckets.

    Args:
        anchors: Edges that must be kept exactly, ascending, within ``[low, high]``.
        low: The first edge, above zero.
        high: The last edge.
        buckets: How many buckets the edges make, the two open ones included.

    Returns:
        ``buckets - 1`` ascending edges, the added ones rounded to four significant digits.
    """
    fixed = sorted({low, *anchors, high})
    parts = [1] * (len(fixed) - 1)
    gaps = [math.log(b / a) for a, b in itertools.pairwise(fixed)]
    spare = buckets - 1 - len(fixed)
    assert spare >= 0, "more anchors than edges"
    for _ in range(spare):
        widest = max(range(len(gaps)), key=lambda i: gaps[i] / parts[i])
        parts[widest] += 1
    edges: list[float] = []
    for start, gap, count in zip(fixed, gaps, parts, strict=False):
        edges.append(start)
        edges.extend(float(f"{start * math.exp(gap * k / count):.4g}") for k in range(1, count))
    return (*edges, fixed[-1])


def bucket_of(edges: Sequence[float], value: float) -> int:
    """The index of the bucket that holds a finite value."""
    return bisect_left(edges, value)


def range_label(low: float | None, high: float | None, unit: str = "") -> str:
    """Name a bucket of whole numbers, ``low`` exclusive and ``high`` inclusive: ``<=4``, ``5-16``, ``>16``."""
    if low is None:
        return f"<={high:g}{unit}"
    if high is None:
        return f">{low:g}{unit}"
    if unit:
        return f"{low:g}-{high:g}{unit}"
    return f"{high:g}" if high == low + 1 else f"{low + 1:g}-{high:g}"
