"""The published releases as JSON-ready values, for ``GET /v1/datasets``."""

from __future__ import annotations

from typing import Any

from metavox_collector.dataset.columns import columns_of
from metavox_collector.dataset.facts import facts
from metavox_collector.store import ReleaseSummary, Transaction
from metavox_privacy.schema import Schema


def listing(transaction: Transaction) -> list[dict[str, Any]]:
    """Every release for the purpose 'publish', oldest first; the maintainers' own are not listed."""
    return [_entry(summary, transaction.schema) for summary in transaction.release_summaries("publish")]


def _entry(summary: ReleaseSummary, schema: Schema) -> dict[str, Any]:
    tables = [
        {
            "name": table.name,
            "rows": summary.cells[table.name] * max(1, len(table.metrics)),
            "columns": [column.name for column in columns_of(table, schema)],
        }
        for table in schema.in_scope(summary.scope)
        if table.name in summary.cells
    ]
    return {**facts(summary, synthetic=summary.synthetic), "tables": tables}
