"""``metavox-collector outliers``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from metavox_collector import outliers as suspects
from metavox_collector import settings
from metavox_collector.cli.options import Config, Db, PurposeOption, WeekOption
from metavox_collector.errors import TargetExists
from metavox_collector.outliers import NOT_PRIVATE, Outliers, SuspectCell
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA

_SHOWN = 40
_ROOM = 120
"""Columns that the table takes; a narrower terminal wraps its lines, where the table would cut numbers."""


def outliers(
    week: WeekOption,
    db: Db = None,
    config: Config = None,
    purpose: Annotated[PurposeOption, typer.Option(help="The reports that permit it.")] = PurposeOption.publish,
    out: Annotated[
        Path | None, typer.Option(help="File for all of it as JSON, for its owner alone; it must not exist.")
    ] = None,
) -> None:
    """Look for poisoned cells in a week that is staged: for the operator alone, for this is not private."""
    chosen = settings.load(config, db=db)
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        found = suspects.find(database, week, purpose.value)
    finally:
        database.dispose()
    if out is not None:
        _write(found, out)
    _print(found)


def _write(found: Outliers, out: Path) -> None:
    document = {"warning": NOT_PRIVATE, **asdict(found), "week": str(found.week)}
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise TargetExists(f"{out} is there already; nothing was written") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)


def _print(found: Outliers) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, _ROOM)
    label = " (SYNTHETIC)" if found.synthetic else ""
    console.print(f"{found.week}{label} for '{found.purpose}': cells of 20 reports or more: {len(found.cells)}")
    console.print(_summary(found))
    if len(found.cells) > _SHOWN:
        console.print(f"{len(found.cells) - _SHOWN} further cells; --out writes all of them")
    console.print(f"This is {NOT_PRIVATE}.", soft_wrap=True)


def _summary(found: Outliers) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for head in found.dimensions:
        table.add_column(head, overflow="fold")
    for head in ("reports", "before", "far", "in", "near is"):
        table.add_column(head, justify="right", no_wrap=True)
    for cell in found.cells[:_SHOWN]:
        table.add_row(*cell.key, *_figures(cell))
    return table


def _figures(cell: SuspectCell) -> tuple[str, ...]:
    before = "" if cell.earlier is None else f"{cell.earlier}{' JUMPED' if cell.jumped else ''}"
    worst = cell.worst
    if worst is None or worst.far is None:
        return str(cell.contributors), before, "", "", ""
    low, high = ("" if end is None else f"{end:g}" for end in worst.near)
    unit = SCHEMA.metric[worst.metric].unit
    return str(cell.contributors), before, f"{worst.share:.0%}", worst.metric, f"{low}–{high} {unit}"
