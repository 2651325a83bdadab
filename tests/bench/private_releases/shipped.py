"""A release as it ships: every table and metric out of one budget, by the real mechanism and estimate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metavox_collector.estimate import estimate_all
from metavox_privacy.anonymize import CellKey
from metavox_privacy.budget import authorize
from metavox_privacy.cells import Cell, weight
from metavox_privacy.estimate import quantile
from metavox_privacy.fields import Metric, Scope, Table
from metavox_privacy.release import ReleasedTable, make_release
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.week import Week
from tests.bench.private_releases.errors import LEVELS, figures, given, relative, summary
from tests.bench.private_releases.fleet import HABITS, REQUESTS, Floats, Ints, picks

PUBLISH = 14_500_000
"""The shipped budget of a week's published release, in nano-ρ; with the maintainers' it is ε = 1 at δ = 1e-8."""

KEYS = {"full": 200, "coarse": 60}
NINE_TENTHS = 0.9
PROMPTS = (40, 180, 700, 2500)
ERROR_RATE = 0.01


@dataclass(frozen=True)
class Variant:
    """One way to spend a budget.

    Attributes:
        name: What distinguishes it.
        shares: The performance table's thousandths by metric, and ``counts``; None for the schema's.
        weeks: How many weeks are released together; ρ grows with them, so that a year costs the same.
    """

    name: str
    scope: Scope = "full"
    installations: int = 100_000
    shares: Mapping[str, int] | None = None
    weeks: int = 1
    nano_rho: int = PUBLISH

    @property
    def part(self) -> str:
        """What was measured, whatever it is called and whatever the schema says later."""
        table = self.schema.in_scope(self.scope)[0]
        shares = "/".join(map(str, (table.count_permille, *table.metrics.values())))
        return f"shipped: {self.scope}, {self.installations}, weeks {self.weeks}, {shares}"

    @property
    def schema(self) -> Schema:
        """The schema with these shares."""
        tables = SCHEMA.in_scope(self.scope)
        if self.shares is None:
            return SCHEMA
        metrics = {name: share for name, share in self.shares.items() if name != "counts"}
        first = dataclasses.replace(tables[0], metrics=metrics, count_permille=self.shares["counts"])
        changed = (first, *tables[1:])
        if self.scope == "full":
            return dataclasses.replace(SCHEMA, tables=changed)
        return dataclasses.replace(SCHEMA, coarse_tables=changed)


@dataclass(frozen=True)
class Requests:
    """A fleet's requests, a row for each installation, cell and week.

    Attributes:
        cell: Which key, by number.
        worth: The units that each histogram of the row's report is worth.
        values: Requests by metric, ``(rows, REQUESTS)``.
    """

    cell: Ints
    worth: Ints
    values: Mapping[str, Floats]


def make_week(variant: Variant, seed: int) -> Requests:
    """Installations of as many kinds as there are keys, Zipf, with the speeds and sizes of the simulated fleet."""
    keys = KEYS[variant.scope]
    rng = np.random.default_rng((seed, variant.installations, keys))
    popularity = 1 / np.arange(1, keys + 1)
    wanted = rng.choice(HABITS, variant.installations)
    installation, cell = np.tile(picks(rng, popularity / popularity.sum(), wanted), (variant.weeks, 1)).T
    rows = len(cell)
    machine = rng.normal(0, 0.15, variant.installations)[installation]
    beside = (
        np.where(rng.random(keys) < 0.25, 24, 1)[cell]
        if variant.scope == "full"
        else rng.choice((1, 1, 1, 24), rows)
    )
    slow = machine + 0.35 * np.log(beside)
    prompt = rng.choice(PROMPTS, rows)
    parameters = np.exp(rng.uniform(np.log(5e8), np.log(1.2e11), keys))[cell]
    first = rng.uniform(np.log(0.016), np.log(0.55), keys)[cell] + slow + np.log(0.3 + 0.7 * prompt / 256)
    each = rng.uniform(np.log(0.0016), np.log(0.032), keys)[cell] + slow
    memory = (parameters * 1.2 + prompt * parameters**0.5 * beside * 2) * 1.15 + 2e8
    worth = np.array([weight(max(k, 1), SCHEMA.units) for k in range(max(HABITS) + 1)])[wanted[installation]]
    return Requests(
        cell,
        worth,
        {
            "time_to_first_token": np.exp(first[:, None] + rng.normal(0, 0.25, (rows, REQUESTS))),
            "time_per_output_token": np.exp(each[:, None] + rng.normal(0, 0.12, (rows, REQUESTS))),
            "peak_device_memory": np.repeat(memory[:, None], REQUESTS, axis=1),
            "error_rate": (rng.random((rows, REQUESTS)) < ERROR_RATE).astype(float),
        },
    )


def sums(week: Requests, metric: Metric, keys: int) -> Ints:
    """Units by key and bucket, as the fold sums reports."""
    values = week.values[metric.name]
    buckets = values.astype(np.int64) if metric.is_rate else np.searchsorted(np.array(metric.edges), values)
    each, rest = np.divmod(week.worth, REQUESTS)
    total = np.zeros((keys, metric.buckets), dtype=np.int64)
    for request in range(REQUESTS):
        np.add.at(total, (week.cell, buckets[:, request]), each + (request < rest))
    return total


def cells(week: Requests, table: Table, keys: int) -> dict[CellKey, Cell]:
    """The performance table's sums under keys of the public key space."""
    vocabularies = [SCHEMA.dimension[name].vocabulary for name in table.dimensions]
    counts = np.bincount(week.cell, minlength=keys)
    histograms = {name: sums(week, SCHEMA.metric[name], keys).tolist() for name in table.metrics}
    return {
        tuple(words[number % len(words)] for words in vocabularies): Cell(
            int(counts[number]), {name: rows[number] for name, rows in histograms.items()}
        )
        for number in range(keys)
    }


def measure(variant: Variant, seed: int = 1) -> dict[str, Any]:
    """Release one fleet, and the errors in the cells that hold nine tenths of it, released or not."""
    schema, keys = variant.schema, KEYS[variant.scope]
    week = make_week(variant, seed)
    tables = schema.in_scope(variant.scope)
    truth = cells(week, tables[0], keys)
    assert len(truth) == keys, "two numbers share a key"
    folded = {table.name: truth if table is tables[0] else {} for table in tables}
    nano_rho = variant.nano_rho * variant.weeks
    authorization = authorize(
        [],
        week=Week.parse("2026-W40"),
        weeks=variant.weeks,
        purpose="publish",
        scope=variant.scope,
        schema_version=schema.version,
        nano_rho=nano_rho,
        yearly_cap=nano_rho,
        sandbox=True,
    )
    released = make_release(folded, schema, authorization).tables[0]
    return _judged(variant, week, list(truth), released, tables[0])


def _judged(
    variant: Variant, week: Requests, order: list[CellKey], released: ReleasedTable, table: Table
) -> dict[str, Any]:
    counts = np.bincount(week.cell, minlength=len(order)) / variant.weeks
    most = np.argsort(-counts)
    held = most[: int(np.searchsorted(np.cumsum(counts[most]) / counts.sum(), NINE_TENTHS)) + 1]
    found = {cell.key: cell for cell in released.cells}
    there = [number for number in held if order[number] in found]
    metrics: dict[str, Any] = {}
    for name in table.metrics:
        metric = SCHEMA.metric[name]
        scale = released.histogram_scales[name]
        estimates = estimate_all([(metric, found[order[number]].histograms[name], scale) for number in there])
        if metric.is_rate:
            metrics[name] = {"noise": scale / SCHEMA.units / float(np.median(counts[held]) * variant.weeks)}
            continue
        exact = np.array(
            [np.quantile(week.values[name][week.cell == number], list(LEVELS.values())) for number in held]
        )
        values = np.full(exact.shape, np.nan)
        values[np.isin(held, there)] = figures(estimates, metric.edges)
        bare = figures_without_noise(week, metric, len(order))[held]
        shares = {level: share * len(there) / len(held) for level, share in given(estimates).items()}
        metrics[name] = {
            "error": summary(relative(values, exact)),
            "buckets_alone": summary(relative(bare, exact)),
            "given": shares,
        }
    return {
        "variant": dataclasses.asdict(variant),
        "shares": {"counts": table.count_permille, **table.metrics},
        "cells": len(held),
        "least_installations": float(counts[held].min()),
        "released": len(there) / len(held),
        "threshold": released.threshold,
        "metrics": metrics,
    }


def figures_without_noise(week: Requests, metric: Metric, keys: int) -> Floats:
    """What the sums alone would give: the error of the buckets and of the weights."""
    return np.array(
        [
            [quantile(row, metric.edges, level) or np.nan for level in LEVELS.values()]
            for row in sums(week, metric, keys).tolist()
        ]
    )


SHIPS = "shipped, weekly"
SHARED = ("counts", "time_to_first_token", "time_per_output_token", "peak_device_memory", "error_rate")
SHARES_TRIED = (
    (120, 500, 180, 100, 20),
    (120, 400, 240, 140, 20),
    (120, 560, 160, 60, 20),
    (200, 420, 200, 80, 20),
    (60, 560, 200, 80, 20),
)


def shipped() -> Iterator[Variant]:
    """What ships, at the size that has targets, and the same four weeks together."""
    yield Variant(SHIPS)
    yield Variant("shipped shares, four weeks together", weeks=4)


def shares_tried() -> Iterator[Variant]:
    """Other ways to divide the budget of a week."""
    for shares in SHARES_TRIED:
        name = "counts and metrics " + "/".join(map(str, shares))
        yield Variant(name, shares=dict(zip(SHARED, shares, strict=True)))
    yield Variant("equal shares", shares=dict.fromkeys(SHARED, 184))


def scopes() -> Iterator[Variant]:
    """Smaller fleets, full and coarse."""
    for installations in (10_000, 3_000):
        yield Variant(f"full, {installations:,}", installations=installations)
        yield Variant(f"coarse, {installations:,}", "coarse", installations)
        yield Variant(f"coarse, {installations:,}, four weeks together", "coarse", installations, weeks=4)
