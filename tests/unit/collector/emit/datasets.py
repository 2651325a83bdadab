"""A dataset of the shipped schema for tests of formats: scales as shipped, noise of a fixed seed, a ledger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import date

import numpy as np

from metavox_collector.dataset.code import Code
from metavox_collector.dataset.model import Dataset, Publisher, dataset_of
from metavox_collector.store import LabelledRelease
from metavox_privacy.budget import LedgerEntry, authorize
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.fields import Metric, Purpose, Scope, Table
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable, threshold
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import spread
from metavox_privacy.week import Week

WEEK = Week(2026, 47)
NANO_RHO = 14_500_000
CAP = 900_000_000

PUBLISHER = Publisher(
    name='Example "Benchmarks" GmbH',
    address="Musterstraße 1, 10115 Berlin",
    country="DE",
    email="data@example.org",
    url="https://example.org/",
    dpo="dpo@example.org",
)
CODE = Code("1.0.0", "ab" * 32, "0.16.0")

_MIDDLE = {"time_to_first_token": 0.3, "time_per_output_token": 0.03, "peak_device_memory": 8e9}
_KEYS = {
    "accelerator": ("NVIDIA H200", "NVIDIA B200", "other"),
    "model": ("Qwen/Qwen3-0.6B", "other"),
    "quantization": ("bfloat16", "int4"),
    "concurrency": ("<=1", "2-4"),
}


def example_dataset(
    *,
    scope: Scope = "full",
    weeks: int = 1,
    purpose: Purpose = "publish",
    synthetic: bool = True,
    cells: int = 9,
    seed: int = 1,
    publisher: Publisher = PUBLISHER,
) -> Dataset:
    """A release of so many cells a table at most, of 100 to 9,000 installations each."""
    rng = np.random.default_rng(seed)
    tables = tuple(_released(table, cells, weeks, rng) for table in SCHEMA.in_scope(scope))
    release = Release(WEEK, weeks, purpose, scope, SCHEMA.version, NANO_RHO, tables)
    return dataset_of(
        LabelledRelease(release, synthetic),
        _history(release, sandbox=synthetic),
        SCHEMA,
        publisher=publisher,
        issued=date(2026, 12, 4),
        code=CODE,
    )


def _history(release: Release, *, sandbox: bool) -> tuple[LedgerEntry, ...]:
    authorization = authorize(
        (),
        week=release.week,
        weeks=release.weeks,
        purpose=release.purpose,
        scope=release.scope,
        schema_version=release.schema_version,
        nano_rho=release.nano_rho,
        yearly_cap=CAP,
        sandbox=sandbox,
    )
    return (authorization.settle(release.sha256),)


def _released(table: Table, cells: int, weeks: int, rng: np.random.Generator) -> ReleasedTable:
    vocabularies = [_KEYS.get(name, SCHEMA.dimension[name].vocabulary[:3]) for name in table.dimensions]
    keys = list(itertools.islice(itertools.product(*vocabularies), cells))
    size = math.prod(len(SCHEMA.dimension[name].vocabulary) for name in table.dimensions)
    count_scale = _scale(squared_count_sensitivity(SCHEMA, weeks), table.count_permille)
    scales = {
        name: _scale(squared_histogram_sensitivity(SCHEMA.metric[name], SCHEMA, weeks), permille)
        for name, permille in table.metrics.items()
    }
    counts = {key: round(9000 / (n + 1) ** 1.5 + 100 + rng.normal(0, count_scale)) for n, key in enumerate(keys)}
    least = threshold(count_scale, size, weeks)
    passed = sorted(((n, key) for key, n in counts.items() if n >= least), key=lambda p: (-p[0], p[1]))
    made = tuple(
        ReleasedCell(key, n, {m: _noisy(SCHEMA.metric[m], n, scales[m], rng) for m in table.metrics})
        for n, key in passed
    )
    return ReleasedTable(table.name, table.dimensions, size, count_scale, scales, least, made)


def _scale(squared_sensitivity: float, permille: int) -> float:
    return math.sqrt(squared_sensitivity / (2 * NANO_RHO * permille / 1000 / 1e9))


def _noisy(metric: Metric, contributors: int, scale: float, rng: np.random.Generator) -> tuple[int, ...]:
    spreaded = spread(_histogram(metric, contributors), metric)
    return tuple(int(value + round(rng.normal(0, scale))) for value in spreaded)


def _histogram(metric: Metric, contributors: int) -> Sequence[int]:
    units = contributors * SCHEMA.units
    if metric.is_rate:
        return [units - units // 50, units // 50]
    logs = np.log(metric.edges)
    below = [0.0, *(0.5 * (1 + math.erf((x - math.log(_MIDDLE[metric.name])) / 0.8)) for x in logs), 1.0]
    return [round(units * (b - a)) for a, b in itertools.pairwise(below)]
