"""Our mechanism on one table of 200 public cells with one metric, at the full budget of an ε."""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np

from metavox_collector.estimate import Estimate, estimate_all
from metavox_privacy.budget import Account, authorize, epsilon
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity, weight
from metavox_privacy.mechanism import gaussian
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import spread
from metavox_privacy.week import Week
from tests.bench.private_releases.fleet import CELLS, MOST_CELLS, REQUESTS, Fleet, Ints

METRIC = SCHEMA.metric["time_to_first_token"]
DELTA = 1e-8
STEEPNESS = 0.5
"""With which power of a cell's size its part of an installation's weight falls."""
LEAST_SIZE = 50
"""Below it, noise is all that a count says."""
_ONE_TABLE = dataclasses.replace(SCHEMA, cells_per_report=MOST_CELLS)


def rho_of(target: float) -> int:
    """The most nano-ρ whose ε at δ = 1e-8 is no more than the target."""
    return bisect.bisect_right(range(10_000_000_000), target, key=lambda nano_rho: epsilon(nano_rho, DELTA)) - 1


def exact_sums(fleet: Fleet) -> Ints:
    """Units by cell and bucket, ``(CELLS, buckets)``, as the fold sums reports: its cells weigh the same."""
    worth = np.array([weight(max(k, 1), SCHEMA.units) for k in range(MOST_CELLS + 1)])
    return _summed(fleet, worth[fleet.cells_of])


def sums_by_size(fleet: Fleet, counts_nano_rho: int) -> Ints:
    """The same, with more of an installation's weight in its smaller cells, whose sizes noisy counts tell first."""
    sensitivity = squared_count_sensitivity(_ONE_TABLE, 1)
    mechanism = gaussian(squared_sensitivity=sensitivity, nano_rho=counts_nano_rho)
    noisy = mechanism.draw(np.bincount(fleet.cell, minlength=CELLS).tolist(), _account(counts_nano_rho))
    return _summed(fleet, worth_by_size(fleet, np.array(noisy)))


def worth_by_size(fleet: Fleet, sizes: Ints) -> Ints:
    """Units of each row; their squares add up to no more than the units' square for any installation."""
    wanted = (1 / np.maximum(sizes, LEAST_SIZE) ** (2 * STEEPNESS))[fleet.cell]
    together = np.bincount(fleet.installation, wanted)[fleet.installation]
    return np.floor(SCHEMA.units * np.sqrt(wanted / together) * (1 - 1e-12)).astype(np.int64)


def _summed(fleet: Fleet, worth: Ints) -> Ints:
    buckets = np.searchsorted(np.array(METRIC.edges), fleet.values)
    each, rest = np.divmod(worth, REQUESTS)
    sums = np.zeros((CELLS, METRIC.buckets), dtype=np.int64)
    for request in range(REQUESTS):  # the units that do not divide go to one request each
        np.add.at(sums, (fleet.cell, buckets[:, request]), each + (request < rest))
    return sums


def release(sums: Ints, nano_rho: int, processes: int | None = None) -> list[Estimate]:
    """Draw the histograms' noise with the shipped mechanism, and estimate. Every public cell is released."""
    mechanism = gaussian(
        squared_sensitivity=squared_histogram_sensitivity(METRIC, _ONE_TABLE, 1), nano_rho=nano_rho
    )
    flat = [units for row in sums.tolist() for units in spread(row, METRIC)]
    noisy = np.array(mechanism.draw(flat, _account(nano_rho))).reshape(CELLS, -1)
    return estimate_all([(METRIC, row, mechanism.scale) for row in noisy.tolist()], processes)


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
