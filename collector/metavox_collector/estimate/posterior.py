"""What the noisy histogram makes of the prior: histograms that may have been its truth, each as likely as another.

For every hypothesis the most likely histogram is found, the posterior about it is taken to be Gaussian in the
logarithms (Laplace's approximation), and what is drawn from that is weighed by the exact posterior (importance
sampling), for a bucket that holds next to nothing is far from Gaussian. How many draws a hypothesis gets is by its
evidence, after the same approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metavox_collector.estimate.axis import Array
from metavox_collector.estimate.prior import Family

ROUNDS = 30
"""Steps of the search at most; the slowest hypothesis of a histogram takes eighteen as a rule."""

CLOSE = 1e-2
"""A step that raises the logarithm of the posterior by less is the last."""

HOPELESS = 1e4
"""The damping at which a search that finds no better place ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """The most likely histogram of every hypothesis, in whitened coordinates z: log content = mean + root @ z.

    Attributes:
        z: (hypotheses, buckets).
        curvature: (hypotheses, buckets, buckets), by Gauss and Newton, of the negative log posterior.
        evidence: (hypotheses,), the logarithm of each hypothesis' marginal likelihood, up to a constant.
    """

    z: Array
    curvature: Array
    evidence: Array


def posterior_draws(noisy: Array, spreading: Array, family: Family, normals: Array) -> Array:
    """Draw histograms, of shape (draws, buckets), in the units of the noisy one.

    Args:
        noisy: The spread histogram (spread buckets,), in standard deviations of its noise.
        spreading: (spread buckets, buckets), in the same measure.
        family: The prior.
        normals: (draws, at least buckets), independent standard normal numbers.
    """
    modes = find_modes(noisy, spreading, family)
    evidence = modes.evidence + family.weights
    weights = np.exp(evidence - evidence.max())
    upto = np.floor(np.cumsum(weights) / weights.sum() * len(normals) + 0.5).astype(int)
    found = []
    for hypothesis in np.nonzero(np.diff(upto, prepend=0))[0]:
        start = upto[hypothesis - 1] if hypothesis else 0
        part = normals[start : upto[hypothesis], : len(family.start)]
        root = np.linalg.cholesky(modes.curvature[hypothesis])
        z = modes.z[hypothesis] + np.linalg.solve(root.T, part.T).T
        contents = np.exp((family.means[hypothesis] + z @ family.roots[hypothesis].T).clip(-80, 60))
        left = noisy - contents @ spreading.T
        excess = 0.5 * ((part**2).sum(axis=1) - (left**2).sum(axis=1) - (z**2).sum(axis=1))
        found.append(contents[_resampled(excess)])
    return np.concatenate(found)


def _resampled(log_weights: Array) -> NDArray[np.int64]:
    """As many indices as there are weights, each as often as its weight says (systematic resampling)."""
    upto = np.cumsum(np.exp(log_weights - log_weights.max()))
    middles = (np.arange(len(upto)) + 0.5) / len(upto)
    return np.searchsorted(upto / upto[-1], middles).clip(0, len(upto) - 1)


def find_modes(noisy: Array, spreading: Array, family: Family) -> Modes:
    """Search for every hypothesis at once, by Levenberg and Marquardt's damped steps; arguments as above."""
    means, roots = family.means, family.roots
    identity = np.eye(means.shape[1])
    z = _start(family)
    damping = np.full(len(means), 1e-2)
    everyone = np.arange(len(means))
    cost, content, left = _look(z, everyone, noisy, spreading, family)
    curvature, gradient = np.empty_like(roots), np.empty_like(z)
    moved, searching = everyone, everyone
    for _ in range(ROUNDS):
        slopes = (spreading * content[moved][:, None, :]) @ roots[moved]
        curvature[moved] = slopes.transpose(0, 2, 1) @ slopes + identity
        gradient[moved] = (left[moved][:, None, :] @ slopes)[:, 0] - z[moved]
        if len(searching) == 0:
            break
        damped = curvature[searching] + damping[searching, None, None] * identity
        tried = z[searching] + np.linalg.solve(damped, gradient[searching, :, None])[:, :, 0]
        new_cost, new_content, new_left = _look(tried, searching, noisy, spreading, family)
        better = new_cost < cost[searching]
        moved, refused = searching[better], searching[~better]
        gain = cost[moved] - new_cost[better]
        z[moved], cost[moved] = tried[better], new_cost[better]
        content[moved], left[moved] = new_content[better], new_left[better]
        damping[moved] *= 0.2
        damping[refused] = damping[refused] * 5 + 0.01
        searching = np.concatenate((moved[gain > CLOSE], refused[damping[refused] < HOPELESS]))
    return Modes(z, curvature, -cost - 0.5 * np.linalg.slogdet(curvature)[1])


def _start(family: Family) -> Array:
    """The first look in whitened coordinates, no further from the mean than a draw of the prior would be."""
    away = (np.log(family.start) - family.means).clip(-6, 6)
    z = np.linalg.solve(family.roots, away[:, :, None])[:, :, 0]
    shrunk: Array = z * np.minimum(1, np.sqrt(z.shape[1]) / np.linalg.norm(z, axis=1))[:, None]
    return shrunk


def _look(
    z: Array, which: NDArray[np.int64], noisy: Array, spreading: Array, family: Family
) -> tuple[Array, Array, Array]:
    """At each z of the hypotheses: its negative log posterior, the content of the buckets and what it leaves."""
    logs = family.means[which] + (family.roots[which] @ z[:, :, None])[:, :, 0]
    content = np.exp(np.minimum(logs, 30))
    left = noisy - content @ spreading.T
    return 0.5 * ((left**2).sum(axis=1) + (z**2).sum(axis=1)), content, left
