"""Noisy spread histogram -> figures with intervals: post-processing, which costs no privacy."""

from metavox_collector.estimate.estimator import estimate, estimate_all
from metavox_collector.estimate.figures import QUANTILES, Estimate, Figure

__all__ = ["QUANTILES", "Estimate", "Figure", "estimate", "estimate_all"]
