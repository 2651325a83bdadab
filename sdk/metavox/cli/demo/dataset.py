"""The buyer's side of the demo: the released Parquet file as a table and a chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from metavox_privacy.anonymize import CellKey
from metavox_privacy.schema import SCHEMA

_FILE = Path("data/performance.parquet")
_TITLE = "performance.parquet (SYNTHETIC: a simulated fleet, and you)"
_DASH = "A dash: too few installations; the noise would be louder than they are."
_KEY = SCHEMA.tables[0].dimensions
_SHOWN = 12
_ROOM = 72
"""Columns below which a table would cut its numbers."""


def rows(folder: Path) -> list[dict[str, Any]]:
    """The performance table, a dict a row."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    found: list[dict[str, Any]] = pq.read_table(folder / _FILE).to_pylist()
    return found


def cells(folder: Path) -> list[dict[str, Any]]:
    """One dict a cell: its key, its contributors, and its rows by metric; the most contributors first."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows(folder):
        key = tuple(row[name] for name in _KEY)
        cell = found.setdefault(key, {"key": key, "contributors": row["contributors"], "metrics": {}})
        cell["metrics"][row["metric"]] = row
    return sorted(found.values(), key=lambda cell: -cell["contributors"])


def show(screen: Console, folder: Path, mine: Iterable[CellKey]) -> None:
    """A table of the cells and a chart of their speeds; those that hold this run's own cells are marked."""
    positions = [SCHEMA.position[name] for name in _KEY]
    own = {tuple(cell[position] for position in positions) for cell in mine}
    published = cells(folder)[:_SHOWN]
    if not published:
        screen.print("No cell passed the threshold: too few installations. Try --installations 10000.")
        return
    if screen.width < _ROOM:
        _list(screen, published, own)
    else:
        screen.print(_table(published, own))
    screen.print()
    screen.print(_chart(published))


def _table(published: list[dict[str, Any]], own: set[tuple[str, ...]]) -> Table:
    table = Table(title=_TITLE, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("device")
    table.add_column("model")
    for name in ("at once", "installs", "TTFT p50", "tok/s", "slowest 10 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in published:
        table.add_row(*_words(cell, own))
    table.caption = _DASH
    table.caption_justify = "left"
    return table


def _list(screen: Console, published: list[dict[str, Any]], own: set[tuple[str, ...]]) -> None:
    """The same in lines, which wrap where a table's columns would be cut."""
    screen.print(_TITLE, style="italic")
    for cell in published:
        device, model, concurrency, installs, first, *speed = _words(cell, own)
        screen.print(f"{device}, {model}, {concurrency} at once", highlight=False, markup=False)
        numbers = f"  {installs} installs, TTFT p50 {first}, tok/s {speed[0]}, slowest 10 % {speed[1]}"
        screen.print(numbers, highlight=False)
    screen.print(_DASH, style="italic")


def _words(cell: dict[str, Any], own: set[tuple[str, ...]]) -> tuple[str, ...]:
    device, model, quantization, concurrency = cell["key"]
    speed = _speed(cell)
    return (
        f"{device} (you)" if cell["key"] in own else device,
        f"{model.rpartition('/')[2]} {quantization}",
        concurrency,
        str(cell["contributors"]),
        _number(cell["metrics"]["time_to_first_token"]["p50"], 1000, " ms"),
        _number(speed["p50"]),
        _number(speed["p90"]),
    )


def _chart(published: list[dict[str, Any]]) -> Table:
    """Bars from the slowest tenth's speed to the median's, on a logarithmic axis."""
    known = [cell for cell in published if _speed(cell)["p50"]]
    low = min((min(_ends(cell)) for cell in known), default=1.0) / 1.5
    high = max((max(_ends(cell)) for cell in known), default=10.0)
    title = "tokens/s of one request, from the slowest tenth's (where it is known) to the median's, logarithmic"
    chart = Table(title=title, title_justify="left", box=None, show_header=False)
    for cell in known:
        begin, end = (math.log(value / low) for value in _ends(cell))
        device, model, _, concurrency = cell["key"]
        label = f"{device}, {model.rpartition('/')[2]} ({concurrency})"
        chart.add_row(label, Bar(math.log(high / low), begin, max(end, begin * 1.02), width=24))
    chart.caption = f"from {low:.0f} to {high:.0f} tokens/s"
    chart.caption_justify = "left"
    return chart


def _ends(cell: dict[str, Any]) -> tuple[float, float]:
    median, slow = _speed(cell).values()
    assert median is not None
    return slow or median, median


def _speed(cell: dict[str, Any]) -> dict[str, float | None]:
    """Tokens a second where half, and where nine tenths, of the requests are as fast or faster."""
    each = cell["metrics"]["time_per_output_token"]
    return {name: 1 / each[name] if each[name] else None for name in ("p50", "p90")}


def _number(value: float | None, scale: float = 1, unit: str = "") -> str:
    if value is None:
        return "–"
    scaled = value * scale
    return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.3g}{unit}"


def how_to_query(screen: Console, folder: Path) -> None:
    """Where the files are, and one line that reads them."""
    for path in sorted(folder.iterdir()):
        screen.print(f"  {path}", soft_wrap=True, highlight=False, markup=False)
    table = folder / _FILE
    screen.print("Query it with pandas, DuckDB, Spark, anything that reads Parquet:")
    for line in (
        f"duckdb -c \"FROM '{table}' WHERE metric = 'time_to_first_token'\"",
        f"python -c \"import pyarrow.parquet as pq; print(pq.read_table('{table}'))\"",
    ):
        screen.print(f"  {line}", soft_wrap=True, markup=False)
    screen.print("A collector of your own adds documents, proof and a signature, which take two minutes more:")
    screen.print("  metavox-collector release --week … --key … --out …", soft_wrap=True, markup=False)
    screen.print("The folder is yours, to keep or to delete.")
    screen.print("Nothing else is left: the collector has stopped, and the demo's home is removed.")
