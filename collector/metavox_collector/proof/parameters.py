"""Everything that the promise of a release rests on, as one file: what was drawn, at which price, what it shows.

All of it follows from what is published beside it, the raw release, the ledger and the schema's declaration: from
noisy numbers alone. A reader can compute it again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from metavox_collector.dataset.code import Code
from metavox_collector.dataset.facts import DELTA, costs, facts, privacy, privacy_unit
from metavox_collector.dataset.model import Dataset
from metavox_collector.dataset.statement import Statement
from metavox_privacy.anonymize import CellKey
from metavox_privacy.budget import LedgerEntry, epsilon, releases_in
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity, weight
from metavox_privacy.fields import Scope, Table
from metavox_privacy.mechanism import GaussianMechanism, gaussian
from metavox_privacy.notice import notice_hashes
from metavox_privacy.release import Release, ReleasedTable, threshold
from metavox_privacy.schema import Schema
from metavox_privacy.scope import installations
from metavox_privacy.smoothing import kernel_of, spread_buckets

FORMAT = 1
"""Goes up when a reader of the last format would misunderstand the file."""

_Z95 = 1.96

_OF_REQUESTS = frozenset(["concurrency", "input_tokens", "output_tokens", "streaming"])
"""Dimensions in which one installation has several words in a week, and so counts several times."""

SELF_SELECTION = (
    "Only installations whose owners said yes are counted, and they are no random sample of all installations: who "
    "says yes may own other hardware and run other models than who does not. Nothing here corrects for that: "
    "figures describe the contributors, and counts are of contributing installations."
)


def specification(
    schema: Schema, scope: Scope, weeks: int, nano_rho: int, statement: Statement, history: Sequence[LedgerEntry]
) -> dict[str, Any]:
    """What the software draws and what it costs, derived from the declaration and the ledger alone."""
    return {
        "schema": {"version": schema.version, "fingerprint": schema.fingerprint},
        "bounds": {
            "cells_per_installation": schema.cells_per_report,
            "units_per_histogram": schema.units,
            "units_by_number_of_cells": [weight(k, schema.units) for k in range(1, schema.cells_per_report + 1)],
            "weeks": weeks,
        },
        "tables": [_table(table, schema, weeks, nano_rho) for table in schema.in_scope(scope)],
        "composition": {
            "unit": privacy_unit(weeks),
            "rule": "zCDP of every draw adds up: over counts and metrics of a table, tables, purposes and weeks",
            "nano_rho_of_release": nano_rho,
            **costs(statement),
            "epsilon_of_release": epsilon(nano_rho, DELTA),
            "epsilon_of_year_at_cap": epsilon(statement.yearly_cap, DELTA),
            "delta": DELTA,
            "releases_in_year_so_far": _releases_of_year(history),
        },
    }


def parameters(dataset: Dataset, documents: Mapping[str, Any]) -> dict[str, Any]:
    """The specification together with what this release shows and what it was made by.

    Args:
        dataset: The release.
        documents: What the documents say beside: who publishes, when, and under which settings.
    """
    release = dataset.labelled.release
    return {
        "format": FORMAT,
        "release": {**facts(release, synthetic=dataset.labelled.synthetic), "sha256": release.sha256},
        "privacy": privacy(release, dataset.schema),
        **specification(
            dataset.schema, release.scope, release.weeks, release.nano_rho, dataset.statement, dataset.history
        ),
        "shown": [shown(table, release) for table in release.tables],
        "coverage": coverage(release),
        "figures": list(_figures(dataset)),
        "self_selection": SELF_SELECTION,
        "notices": notice_hashes(dataset.schema),
        "documents": documents,
        "made_by": made_by(dataset.code),
    }


def made_by(code: Code) -> dict[str, str]:
    """Which software made a release."""
    return {"version": code.version, "source_sha256": code.sha256, "opendp": code.opendp}


def _releases_of_year(history: Sequence[LedgerEntry]) -> int:
    year = history[-1].week.year
    return sum(year in entry.years for entry in releases_in(history))


def _table(table: Table, schema: Schema, weeks: int, nano_rho: int) -> dict[str, Any]:
    keys = math.prod(len(schema.dimension[name].vocabulary) for name in table.dimensions)
    squared = squared_count_sensitivity(schema, weeks)
    counts = _mechanism(squared, nano_rho * table.count_permille // 1000)
    return {
        "name": table.name,
        "dimensions": list(table.dimensions),
        "possible_keys": keys,
        "counts": {
            **_draw(counts, squared, table.count_permille),
            "threshold": threshold(counts.scale, keys, weeks),
        },
        "histograms": [_metric(name, part, schema, weeks, nano_rho) for name, part in table.metrics.items()],
    }


def _metric(name: str, permille: int, schema: Schema, weeks: int, nano_rho: int) -> dict[str, Any]:
    metric = schema.metric[name]
    squared = squared_histogram_sensitivity(metric, schema, weeks)
    mechanism = _mechanism(squared, nano_rho * permille // 1000)
    return {
        "metric": name,
        **_draw(mechanism, squared, permille),
        "buckets": metric.buckets,
        "kernel": list(kernel_of(metric)),
        "spread_buckets": spread_buckets(metric),
    }


def _draw(mechanism: GaussianMechanism, squared: int, permille: int) -> dict[str, Any]:
    return {
        "permille_of_rho": permille,
        "squared_sensitivity": squared,
        "noise_scale": mechanism.scale,
        "nano_rho": mechanism.nano_rho,
    }


@lru_cache(maxsize=64)
def _mechanism(squared: int, nano_rho: int) -> GaussianMechanism:
    return gaussian(squared_sensitivity=squared, nano_rho=nano_rho)


def shown(table: ReleasedTable, release: Release) -> dict[str, Any]:
    """How much of a table is published, and about how much of it is not, by noisy numbers alone."""
    total, error = _total(table)
    return {
        "name": table.name,
        "published_keys": len(table.cells),
        "possible_keys": table.keys,
        "rows": len(table.cells) * max(1, len(table.histogram_scales)),
        "contributions": total,
        "contributions_error_95": round(_Z95 * error, 1),
        "suppressed_share_estimated": _suppressed(table, release),
    }


def _suppressed(table: ReleasedTable, release: Release) -> float | None:
    """About which part of the contributions, at least, is in cells that are not published; nobody knows it exactly.

    Every installation contributes to each table, and as a rule once to those that say what it is and not what was
    asked of it. What one of these shows more of than this table, in total or for the words of the dimensions that
    both have, is missing here; a table that says both may be held against the others too. What is missing from all
    of them cannot be seen.
    """
    others = [
        other
        for other in release.tables
        if not other.histogram_scales
        and (_OF_REQUESTS.isdisjoint(other.dimensions) or not _OF_REQUESTS.isdisjoint(table.dimensions))
        and _total(other)[0] > 0
    ]
    missing = [_missing(table, other) / _total(other)[0] for other in others]
    return round(max(missing), 4) if missing else None


def _missing(table: ReleasedTable, other: ReleasedTable) -> int:
    common = [name for name in table.dimensions if name in other.dimensions]
    mine, theirs = _margin(table, common), _margin(other, common)
    return sum(max(0, count - mine[key]) for key, count in theirs.items())


def _margin(table: ReleasedTable, dimensions: Sequence[str]) -> Counter[CellKey]:
    at = [table.dimensions.index(name) for name in dimensions]
    sums: Counter[CellKey] = Counter()
    for cell in table.cells:
        sums[tuple(cell.key[i] for i in at)] += cell.contributors
    return sums


def coverage(release: Release) -> dict[str, Any]:
    """About how many installations a release is of, by its noisy counts."""
    return {
        "installations_a_week": installations(release),
        "counted_by": "the hardware table's published cells; one with several kinds of hardware counts in each",
        "installation_counts_by_table": {table.name: _total(table)[0] for table in release.tables},
    }


def _total(table: ReleasedTable) -> tuple[int, float]:
    """The sum of the published counts, and its noise's standard deviation."""
    return sum(cell.contributors for cell in table.cells), table.count_scale * math.sqrt(len(table.cells))


def _figures(dataset: Dataset) -> Iterable[dict[str, Any]]:
    """For each table and metric, in how many of the published cells the noise leaves a figure."""
    for table in dataset.tables:
        for metric in table.released.histogram_scales:
            rows = [row for row in table.rows if row["metric"] == metric]
            central = "share" if dataset.schema.metric[metric].is_rate else "p50"
            given = [row for row in rows if row[central] is not None]
            total, with_figure = (sum(_count(row["contributors"]) for row in part) for part in (rows, given))
            yield {
                "table": table.name,
                "metric": metric,
                "cells": len(rows),
                "figure": central,
                "cells_with_figure": len(given),
                "share_of_contributions": round(with_figure / total, 4) if total > 0 else None,
            }


def _count(value: object) -> int:
    assert isinstance(value, int)  # the column's type
    return value
