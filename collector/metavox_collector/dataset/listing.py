"""The published releases as JSON-ready values, for ``GET /v1/datasets``."""

from __future__ import annotations

from typing import Any

from metavox_collector.dataset.columns import columns_of
from metavox_collector.dataset.facts import facts
from metavox_collector.store import ReleaseSummary, Transaction
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week


def listing(transaction: Transaction) -> list[dict[str, Any]]:
    """Every release for the purpose 'publish', oldest first; the maintainers' own are not listed.

    One that was withdrawn is listed and says so, for whoever has its pack.
    """
    told: dict[Week, list[str]] = {}
    for entry in transaction.ledger():
        if entry.reason and entry.purpose == "publish":
            told.setdefault(entry.week, []).append(entry.reason)
    return [
        _entry(summary, told.get(summary.week, []), transaction.schema)
        for summary in transaction.release_summaries("publish")
    ]


def _entry(summary: ReleaseSummary, corrections: list[str], schema: Schema) -> dict[str, Any]:
    tables = [
        {
            "name": table.name,
            "rows": summary.cells[table.name] * max(1, len(table.metrics)),
            "columns": [column.name for column in columns_of(table, schema)],
        }
        for table in schema.in_scope(summary.scope)
        if table.name in summary.cells
    ]
    said = {"withdrawn": "withdrawn" in corrections, "corrections": corrections}
    return {**facts(summary, synthetic=summary.synthetic), **said, "tables": tables}
