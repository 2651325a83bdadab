"""A public release as a collector would answer it, and as it may be damaged on its way."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

from metavox_privacy.estimate import quantile
from metavox_privacy.schema import SCHEMA

CPU_TINY = ("CPU x86-64 AVX-512", "metavox/tiny", "float32", "<=1")
QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def metric(name: str, middle: float, *, width: float = 0.5, units: int = 10_000) -> dict[str, Any]:
    """A bell in log space around a time in seconds, over the shipped buckets of a metric."""
    edges = SCHEMA.metric[name].edges
    middles = [edges[0], *(math.sqrt(a * b) for a, b in itertools.pairwise(edges)), edges[-1]]
    histogram = [round(units * math.exp(-((math.log(at / middle) / width) ** 2) / 2)) for at in middles]
    held = [at for at, value in enumerate(histogram) if value]
    trimmed = histogram[held[0] : held[-1] + 1]
    figures = {q: quantile(histogram, edges, part) for q, part in QUANTILES.items()}
    return {**figures, "first_bucket": held[0], "histogram": trimmed}


def nothing() -> dict[str, Any]:
    """A metric that the noise hides."""
    return dict.fromkeys((*QUANTILES, "first_bucket", "histogram"))


def cell(key: tuple[str, ...] = CPU_TINY, *, contributors: int = 312, **changes: Any) -> dict[str, Any]:
    """A published combination whose times are around 20 ms and 4 ms."""
    measured = {
        "time_to_first_token": metric("time_to_first_token", 0.020),
        "time_per_output_token": metric("time_per_output_token", 0.004),
    }
    return {"key": list(key), "contributors": contributors, **measured, **changes}


def document(*cells: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A release with these cells, or with one."""
    names = ("time_to_first_token", "time_per_output_token")
    return {
        "format": 1,
        "week": "2026-W47",
        "purpose": "publish",
        "synthetic": False,
        "schema_version": 1,
        "note": "Differentially private.",
        "units_per_contributor": 256,
        "dimensions": ["accelerator", "model", "quantization", "concurrency"],
        "metrics": {name: {"unit": "s", "bucket_edges": list(SCHEMA.metric[name].edges)} for name in names},
        "cells": list(cells or (cell(),)),
        "cells_left_out": 0,
        **changes,
    }


def as_bytes(content: Any) -> bytes:
    """As it is downloaded."""
    return json.dumps(content, ensure_ascii=False).encode()
