"""The newest release as one small file, for ``metavox compare``: where does a machine stand among others?

It holds no more than the dataset does: of the performance table the two times that a person notices, each with its
quantiles and the histogram that was estimated with them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

from metavox_collector.estimate import QUANTILES, Estimate, estimate_all
from metavox_collector.store import LabelledRelease
from metavox_privacy.fields import Metric
from metavox_privacy.release import ReleasedTable
from metavox_privacy.schema import Schema

FORMAT = 1
"""Goes up when a reader of the last one would misunderstand the file."""

TABLE = "performance"
METRICS = ("time_to_first_token", "time_per_output_token")

MOST_CELLS = 2000
"""Cells of a file at most, those with the most contributors: 1.2 MB as a rule, where readers take 4 MiB."""

NOTE = (
    "Differentially private: contributors, quantiles and histograms carry noise, which null says is too much. A "
    "histogram gives each installation the same weight. Nobody may be singled out with it. On which other terms it "
    "may be used is for whoever runs the collector to say; this file gives no licence."
)


def zipped_file(labelled: LabelledRelease, schema: Schema) -> bytes:
    """Write a release of this version of the schema as a gzipped file; 30 ms a cell, so it is made once."""
    text = json.dumps(newest(labelled, schema), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return gzip.compress(text.encode(), mtime=0)


def newest(labelled: LabelledRelease, schema: Schema) -> dict[str, Any]:
    """The file as JSON-ready values; figures have four significant digits, null is what the noise hides."""
    release = labelled.release
    released = next(table for table in release.tables if table.name == TABLE)
    return {
        "format": FORMAT,
        "week": str(release.week),
        "purpose": release.purpose,
        "synthetic": labelled.synthetic,
        "schema_version": release.schema_version,
        "note": NOTE,
        "units_per_contributor": schema.units,
        "dimensions": list(released.dimensions),
        "metrics": {name: _metric(schema.metric[name]) for name in METRICS},
        "cells": _cells(released, schema),
        "cells_left_out": max(len(released.cells) - MOST_CELLS, 0),
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {"unit": metric.unit, "bucket_edges": list(metric.edges)}


def _cells(released: ReleasedTable, schema: Schema) -> list[dict[str, Any]]:
    cells = released.cells[:MOST_CELLS]
    metrics = [schema.metric[name] for name in METRICS]
    scales = released.histogram_scales
    drawn = ((m, cell.histograms[m.name], scales[m.name]) for cell in cells for m in metrics)
    estimates = iter(estimate_all(drawn))
    return [
        {
            "key": list(cell.key),
            "contributors": cell.contributors,
            **{metric.name: _measured(next(estimates), cell.contributors * schema.units) for metric in metrics},
        }
        for cell in cells
    ]


def _measured(estimate: Estimate, units: int) -> Mapping[str, Any]:
    """The quantiles, and the estimated histogram from its first to its last unit; null where noise hides both."""
    figures = {name: estimate.figures[name] for name in QUANTILES}
    histogram = [round(share * units) for share in estimate.shares]
    filled = [bucket for bucket, units in enumerate(histogram) if units]
    shown = filled and figures["p50"] is not None
    return {
        **{name: None if figure is None else float(f"{figure.value:.4g}") for name, figure in figures.items()},
        "first_bucket": filled[0] if shown else None,
        "histogram": histogram[filled[0] : filled[-1] + 1] if shown else None,
    }
