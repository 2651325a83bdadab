"""Our mechanism on one table of 200 public cells with one metric, at the full budget of an ε."""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np

from metavox_collector.estimate import Estimate, estimate_all
from metavox_privacy.budget import Account, authorize, epsilon
from metavox_privacy.cells import squared_histogram_sensitivity, weight
from metavox_privacy.mechanism import gaussian
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import spread
from metavox_privacy.week import Week
from tests.bench.private_releases.fleet import CELLS, MOST_CELLS, REQUESTS, Fleet, Ints

METRIC = SCHEMA.metric["time_to_first_token"]
DELTA = 1e-8
_ONE_TABLE = dataclasses.replace(SCHEMA, cells_per_report=MOST_CELLS)


def rho_of(target: float) -> int:
    """The most nano-ρ whose ε at δ = 1e-8 is no more than the target."""
    return bisect.bisect_right(range(10_000_000_000), target, key=lambda nano_rho: epsilon(nano_rho, DELTA)) - 1


def exact_sums(fleet: Fleet) -> Ints:
    """Units by cell and bucket, ``(CELLS, buckets)``, as the fold sums reports; four requests divide 256 evenly."""
    worth = np.array([weight(max(k, 1), SCHEMA.units) for k in range(MOST_CELLS + 1)])[fleet.cells_of]
    buckets = np.searchsorted(np.array(METRIC.edges), fleet.values)
    each, rest = np.divmod(worth, REQUESTS)
    sums = np.zeros((CELLS, METRIC.buckets), dtype=np.int64)
    for request in range(REQUESTS):  # the units that do not divide go to one request each
        np.add.at(sums, (fleet.cell, buckets[:, request]), each + (request < rest))
    return sums


def release(sums: Ints, nano_rho: int) -> list[Estimate]:
    """Draw the histograms' noise with the shipped mechanism, and estimate. Every public cell is released."""
    mechanism = gaussian(
        squared_sensitivity=squared_histogram_sensitivity(METRIC, _ONE_TABLE, 1), nano_rho=nano_rho
    )
    flat = [units for row in sums.tolist() for units in spread(row, METRIC)]
    noisy = np.array(mechanism.draw(flat, _account(nano_rho))).reshape(CELLS, -1)
    return estimate_all([(METRIC, row, mechanism.scale) for row in noisy.tolist()])


def _account(nano_rho: int) -> Account:
    return Account(
        authorize(
            [],
            week=Week.parse("2026-W40"),
            purpose="publish",
            schema_version=SCHEMA.version,
            nano_rho=nano_rho,
            yearly_cap=nano_rho,
            sandbox=True,
        )
    )
