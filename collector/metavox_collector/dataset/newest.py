"""The newest release as one small file, for ``metavox compare``: where does a machine stand among others?

It holds no more than the dataset does: of the performance table the two times that a person notices, each with its
quantiles and the histogram that they were computed from, without the noise outside of its support.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metavox_collector.dataset.columns import QUANTILES
from metavox_collector.dataset.figures import figures_of
from metavox_collector.store import LabelledRelease
from metavox_privacy.estimate import best_support
from metavox_privacy.fields import Metric
from metavox_privacy.release import ReleasedCell
from metavox_privacy.report import Histogram
from metavox_privacy.schema import Schema

FORMAT = 1
"""Goes up when a reader of the last one would misunderstand the file."""

TABLE = "performance"
METRICS = ("time_to_first_token", "time_per_output_token")

MOST_CELLS = 2000
"""Cells of a file at most, those with the most contributors: 0.9 MB as a rule, where readers take 4 MiB."""

NOTE = (
    "Differentially private: contributors, quantiles and histograms carry noise, which null says is too much. A "
    "histogram gives each installation the same weight. Nobody may be singled out with it. On which other terms it "
    "may be used is for whoever runs the collector to say; this file gives no licence."
)


@dataclass(frozen=True, slots=True)
class NewestRelease:
    """A file, ready to be answered.

    Attributes:
        body: JSON in UTF-8.
        zipped: The same, gzipped.
        etag: Names this content, as HTTP quotes it.
    """

    body: bytes
    zipped: bytes
    etag: str


def newest_file(labelled: LabelledRelease, schema: Schema) -> NewestRelease:
    """Write a release of this version of the schema as a file."""
    text = json.dumps(newest(labelled, schema), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = text.encode()
    # Weak, for the plain and the zipped form are the same to whoever asks.
    return NewestRelease(body, gzip.compress(body, mtime=0), f'W/"{hashlib.sha256(body).hexdigest()[:32]}"')


def newest(labelled: LabelledRelease, schema: Schema) -> dict[str, Any]:
    """The file as JSON-ready values; figures have four significant digits, null is what the noise hides."""
    release = labelled.release
    table = next(table for table in schema.tables if table.name == TABLE)
    released = next(table for table in release.tables if table.name == TABLE)
    return {
        "format": FORMAT,
        "week": str(release.week),
        "purpose": release.purpose,
        "synthetic": labelled.synthetic,
        "schema_version": release.schema_version,
        "note": NOTE,
        "units_per_contributor": schema.units,
        "dimensions": list(table.dimensions),
        "metrics": {name: _metric(schema.metric[name]) for name in METRICS},
        "cells": [_cell(cell, released.histogram_scale, schema) for cell in released.cells[:MOST_CELLS]],
        "cells_left_out": max(len(released.cells) - MOST_CELLS, 0),
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {"unit": metric.unit, "bucket_edges": list(metric.edges)}


def _cell(cell: ReleasedCell, scale: float, schema: Schema) -> dict[str, Any]:
    measured = {name: _measured(schema.metric[name], cell.histograms[name], scale) for name in METRICS}
    return {"key": list(cell.key), "contributors": cell.contributors, **measured}


def _measured(metric: Metric, noisy: Histogram, scale: float) -> Mapping[str, Any]:
    """The quantiles, and the histogram trimmed to its support, null like the median where noise is all it shows."""
    figures = figures_of(metric, noisy, scale)
    first, end = best_support(noisy, scale)
    units = None if figures["p50"] is None else [max(value, 0) for value in noisy[first:end]]
    return {
        **{name: _rounded(figures[name]) for name in QUANTILES},
        "first_bucket": None if units is None else first,
        "histogram": units,
    }


def _rounded(value: Any) -> float | None:
    return None if value is None else float(f"{value:.4g}")
