"""The data dictionary: what every column holds, and the facts of the release, as JSON."""

from __future__ import annotations

from typing import Any

from metavox_collector.dataset.columns import Column
from metavox_collector.dataset.facts import costs, facts, licence, primary_key, privacy
from metavox_collector.dataset.json_text import legible
from metavox_collector.dataset.model import Dataset, DatasetTable
from metavox_collector.dataset.paths import DICTIONARY, csv_path, parquet_path
from metavox_privacy.fields import Metric
from metavox_privacy.smoothing import kernel_of, spread_buckets


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write everything that a reader needs to use a release and to judge it."""
    return {DICTIONARY: legible(dictionary(dataset))}


def dictionary(dataset: Dataset) -> dict[str, Any]:
    """The same as JSON-ready values."""
    measured = {name for table in dataset.tables for name in table.declared.metrics}
    return {
        "name": dataset.name,
        "title": dataset.title,
        "version": dataset.version,
        "issued": dataset.issued.isoformat(),
        "publisher": {
            "name": dataset.publisher.name,
            "url": dataset.publisher.url,
            "email": dataset.publisher.email,
        },
        "licence": licence(dataset.release),
        "code": {"version": dataset.code.version, "sha256": dataset.code.sha256},
        "release": facts(dataset.release, synthetic=dataset.synthetic),
        "privacy": {**privacy(dataset.release, dataset.schema), **costs(dataset.statement)},
        "tables": [_table(table) for table in dataset.tables],
        "metrics": [_metric(metric) for metric in dataset.schema.metrics if metric.name in measured],
    }


def _table(table: DatasetTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "file": parquet_path(table.name),
        "csv": csv_path(table.name),
        "question": table.question,
        "rows": len(table.rows),
        "cells": len(table.released.cells),
        "possible_cells": table.released.keys,
        "contributors_noise_scale": table.released.count_scale,
        "histogram_noise_scales": dict(table.released.histogram_scales),
        "threshold": table.released.threshold,
        "primary_key": list(primary_key(table)),
        "columns": [_column(column) for column in table.columns],
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
        "spread_buckets": spread_buckets(metric),
        "kernel": list(kernel_of(metric)),
    }
