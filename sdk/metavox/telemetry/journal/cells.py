"""The journal's counts in SQL: a row for each week and cell, in words that a person can read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from metavox.telemetry.journal.tally import CellTally
from metavox_privacy.anonymize import CellKey
from metavox_privacy.report import CellCounts, Counts, Histogram
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

MOST_CELLS = 64
"""How many cells of a week are kept; the least used gives way. A report has room for four."""


def add(sql: sqlite3.Connection, week: Week, cells: Mapping[CellKey, CellTally]) -> None:
    """Add to a week's counts, and keep the most used cells."""
    for key, counts in cells.items():
        _add(sql, (str(week), json.dumps(key)), counts)
    sql.execute(
        "DELETE FROM cells WHERE week = ? AND cell NOT IN "
        "(SELECT cell FROM cells WHERE week = ? ORDER BY requests DESC, cell LIMIT ?)",
        (str(week), str(week), MOST_CELLS),
    )


def _add(sql: sqlite3.Connection, where: tuple[str, str], counts: CellTally) -> None:
    row = sql.execute("SELECT requests, buckets FROM cells WHERE week = ? AND cell = ?", where).fetchone()
    requests, stored = (0, {}) if row is None else (row[0], json.loads(row[1]))
    for name, buckets in counts.buckets.items():
        sums = stored.setdefault(name, {})
        for bucket, n in buckets.items():
            sums[str(bucket)] = sums.get(str(bucket), 0) + n
    sql.execute(
        "INSERT OR REPLACE INTO cells (week, cell, requests, buckets) VALUES (?, ?, ?, ?)",
        (*where, requests + counts.requests, json.dumps(stored, separators=(",", ":"))),
    )


def read(sql: sqlite3.Connection, week: Week, schema: Schema) -> Counts:
    """A week's counts; rows and buckets that the schema does not know are not read."""
    cells = {}
    rows = sql.execute("SELECT cell, requests, buckets FROM cells WHERE week = ?", (str(week),)).fetchall()
    for cell, requests, buckets in rows:
        key = _key(cell, schema)
        if key is not None and requests > 0:
            cells[key] = CellCounts(requests, _histograms(buckets, schema))
    return Counts(week, cells)


def _key(cell: str, schema: Schema) -> CellKey | None:
    """A stored cell, None unless the schema knows every word of it."""
    words = tuple(json.loads(cell))
    if len(words) != len(schema.dimensions):
        return None
    known = all(word in d.vocabulary for word, d in zip(words, schema.dimensions, strict=True))
    return words if known else None


def _histograms(text: str, schema: Schema) -> dict[str, Histogram]:
    stored: Mapping[str, Mapping[str, int]] = json.loads(text)
    found = {}
    for metric in schema.metrics:
        counts = [stored.get(metric.name, {}).get(str(bucket), 0) for bucket in range(metric.buckets)]
        if any(counts) and min(counts) >= 0:
            found[metric.name] = tuple(counts)
    return found
