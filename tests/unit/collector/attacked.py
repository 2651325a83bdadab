"""Releases for the tests of attacks: of the shipped shape, with noise from a seed, and with faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.world import Publish, Sums, exact_release
from metavox_privacy.budget import Authorization
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.fields import Table
from metavox_privacy.mechanism import gaussian
from metavox_privacy.release import Release, ReleasedTable, threshold
from metavox_privacy.schema import SCHEMA, Schema

PARAMETERS = Parameters(SCHEMA, 14_500_000)

Noise = Callable[[int], "np.ndarray"]


def noisy(seed: int, *, part: float = 1.0, always_the_same: bool = False, whoever: bool = False) -> Publish:
    """What make_release does, quicker: rounded normal noise from a seed, only for keys that somebody reported.

    Args:
        seed: Of all noise.
        part: By how much the noise is smaller than it should be; what is stated stays as it should be.
        always_the_same: Whether every release begins the noise anew.
        whoever: Whether every cell is published that somebody is in: what the keys say is then exact.
    """
    chance = np.random.default_rng(seed)

    def publish(sums: Sums, schema: Schema, authorization: Authorization) -> Release:
        source = np.random.default_rng(seed) if always_the_same else chance

        def noise(n: int) -> np.ndarray:
            return source.standard_normal(n) * part

        exact = exact_release(sums, schema, authorization)
        declared = schema.in_scope(authorization.scope)
        pairs = zip(declared, exact.tables, strict=True)
        return replace(
            exact,
            tables=tuple(_noisy(table, found, schema, authorization, noise, whoever) for table, found in pairs),
        )

    return publish


def _noisy(
    table: Table, exact: ReleasedTable, schema: Schema, authorization: Authorization, noise: Noise, whoever: bool
) -> ReleasedTable:
    weeks, rho = authorization.weeks, authorization.nano_rho
    scale = gaussian(
        squared_sensitivity=squared_count_sensitivity(schema, weeks), nano_rho=rho * table.count_permille // 1000
    ).scale
    scales = {
        name: gaussian(
            squared_sensitivity=squared_histogram_sensitivity(schema.metric[name], schema, weeks),
            nano_rho=rho * permille // 1000,
        ).scale
        for name, permille in table.metrics.items()
    }
    least = threshold(scale, exact.keys, weeks)
    cells = []
    for cell in exact.cells:
        count = cell.contributors + round(float(noise(1)[0]) * scale)
        histograms = {
            name: tuple(int(x) for x in np.round(np.array(units) + noise(len(units)) * scales[name]))
            for name, units in cell.histograms.items()
        }
        if whoever or count >= least:
            cells.append(replace(cell, contributors=count, histograms=histograms))
    return replace(exact, count_scale=scale, histogram_scales=scales, threshold=least, cells=tuple(cells))
