from __future__ import annotations

import pytest

from metavox_collector.dataset.columns import columns_of
from metavox_collector.dataset.listing import listing
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.releases import released


def test_the_listing_names_publish_releases_only_with_their_columns(database, url, schema):
    released(database, url)
    with database.read() as transaction:
        (entry,) = listing(transaction)
    assert (entry["week"], entry["purpose"], entry["synthetic"]) == ("2026-W47", "publish", False)
    assert entry["tables"][0]["columns"][:2] == ["week", "accelerator"]
    tables = schema.in_scope(entry["scope"])
    assert [table["name"] for table in entry["tables"]] == [table.name for table in tables]
    assert entry["tables"][0]["rows"] == len(tables[0].metrics)


@pytest.mark.parametrize("table", {t.dimensions: t for t in (*SCHEMA.tables, *SCHEMA.coarse_tables)}.values())
def test_every_column_is_described_and_named_once(table):
    columns = columns_of(table, SCHEMA)
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.description for column in columns)
