"""Noisy spread histogram -> figures with intervals: post-processing, which costs no privacy."""

from metavox_collector.estimate.estimator import estimate, estimate_all
from metavox_collector.estimate.figures import Estimate, Figure

__all__ = ["Estimate", "Figure", "estimate", "estimate_all"]
