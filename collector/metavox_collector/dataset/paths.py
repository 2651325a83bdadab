"""Where each file of a pack is, relative to its root."""

from __future__ import annotations

CARD = "README.md"
CROISSANT = "croissant.json"
DATA_PACKAGE = "datapackage.json"
DATASHEET = "datasheet.md"
DICTIONARY = "data_dictionary.json"
PAGE = "index.html"


def parquet_path(table: str) -> str:
    """A table's Parquet file."""
    return f"data/{table}.parquet"


def csv_path(table: str) -> str:
    """A table's CSV file, which holds the same rows."""
    return f"csv/{table}.csv"
