"""The data dictionary: what every column holds, and the facts of the release, as JSON-ready values."""

from __future__ import annotations

from typing import Any

from metavox_collector.dataset.columns import Column, columns_of
from metavox_collector.dataset.statement import Statement
from metavox_collector.store import LabelledRelease, ReleaseSummary
from metavox_privacy.budget import epsilon
from metavox_privacy.fields import Metric
from metavox_privacy.release import Release, ReleasedTable
from metavox_privacy.schema import Schema

DELTA = 1e-8
"""The δ at which every ε is stated."""


def dictionary(labelled: LabelledRelease, statement: Statement, schema: Schema) -> dict[str, Any]:
    """Everything a reader needs to use a release and to judge it."""
    return {
        "release": facts(labelled.release, synthetic=labelled.synthetic),
        "privacy": {**privacy(labelled, schema), **costs(statement)},
        "tables": [_table(table, schema) for table in labelled.release.tables],
        "metrics": [_metric(metric) for metric in schema.metrics],
    }


def facts(release: Release | ReleaseSummary, *, synthetic: bool) -> dict[str, Any]:
    """What a release is."""
    return {
        "week": str(release.week),
        "purpose": release.purpose,
        "synthetic": synthetic,
        "schema_version": release.schema_version,
        "rho": release.nano_rho / 1e9,
        "epsilon": epsilon(release.nano_rho, DELTA),
        "delta": DELTA,
    }


def privacy(labelled: LabelledRelease, schema: Schema) -> dict[str, Any]:
    """What is protected, how, and at which price."""
    return {
        "unit": "one installation in one ISO week",
        "definition": "zero-concentrated differential privacy (arXiv:1605.02065)",
        "mechanism": "integer discrete Gaussian (arXiv:2004.00010), as OpenDP implements it",
        "cells_per_installation": schema.cells_per_report,
        "units_per_histogram": schema.units,
        "rho": labelled.release.nano_rho / 1e9,
    }


def costs(statement: Statement) -> dict[str, Any]:
    """What the ledger says: of the week's releases together, of the year, and of itself."""
    return {
        "rho_by_purpose": {purpose: nano_rho / 1e9 for purpose, nano_rho in statement.week.items()},
        "rho_together": statement.together / 1e9,
        "epsilon_together": epsilon(statement.together, DELTA),
        "rho_yearly_cap": statement.yearly_cap / 1e9,
        "rho_spent_in_year": statement.spent / 1e9,
        "release_sha256": statement.release,
        "ledger_head": statement.head,
    }


def _table(released: ReleasedTable, schema: Schema) -> dict[str, Any]:
    table = next(table for table in schema.tables if table.name == released.name)
    return {
        "name": released.name,
        "file": f"{released.name}.parquet",
        "question": table.reason,
        "cells": len(released.cells),
        "possible_cells": released.keys,
        "contributors_noise_scale": released.count_scale,
        "histogram_noise_scale": released.histogram_scale if table.metrics else None,
        "threshold": released.threshold,
        "columns": [_column(column) for column in columns_of(table, schema)],
    }


def _column(column: Column) -> dict[str, Any]:
    described = {
        "name": column.name,
        "type": column.type,
        "unit": column.unit,
        "nullable": column.nullable,
        "description": column.description,
    }
    return {**described, "vocabulary": list(column.vocabulary)} if column.vocabulary else described


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "attribute": metric.attribute,
        "unit": metric.unit,
        "description": metric.reason,
        "rate": metric.is_rate,
        "buckets": metric.buckets,
        "bucket_edges": list(metric.edges),
    }
