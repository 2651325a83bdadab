"""``metavox-collector close``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from metavox_collector import settings
from metavox_collector.cli.options import Config, Db, Now, WeekOption, clock_of
from metavox_collector.close import NOT_SCRUBBED, Closed, Fold, close_week
from metavox_collector.dataset.facts import DELTA
from metavox_collector.errors import CollectorError, NotAllowed
from metavox_collector.fold import sql
from metavox_collector.store import Database
from metavox_privacy.budget import epsilon
from metavox_privacy.release import Release
from metavox_privacy.schema import SCHEMA

_ROOM = 90
"""Columns that the summary takes; a narrower terminal wraps its lines, where the table would cut numbers."""


class EngineOption(str, Enum):
    """Where a week's reports are summed."""

    sql = "sql"
    spark = "spark"


def close(
    week: WeekOption,
    db: Db = None,
    config: Config = None,
    now: Now = None,
    engine: Annotated[EngineOption, typer.Option(help="Sum here, or on a Spark cluster.")] = EngineOption.sql,
    spark_master: Annotated[str | None, typer.Option(help="The cluster, like spark://host:7077.")] = None,
    spark_conf: Annotated[list[str] | None, typer.Option(help="A setting of Spark's own, like spark.x=y.")] = None,
) -> None:
    """Release a week, or the four that end with it, and destroy their staged reports; once, ever."""
    chosen = settings.load(config, db=db, spark_master=spark_master, spark_conf=spark_conf or None)
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        clock = clock_of(now, sandbox=database.sandbox)
        with _fold(engine, chosen) as fold:
            closed = close_week(database, week, chosen, now=clock(), fold=fold)
    finally:
        database.dispose()
    _print(closed, chosen.yearly_cap_nano_rho)
    if not closed.scrubbed:
        raise CollectorError(NOT_SCRUBBED)


@contextmanager
def _fold(engine: EngineOption, chosen: settings.Settings) -> Iterator[Fold]:
    """What sums a week; a cluster is there before the close begins, which keeps others waiting."""
    if engine is EngineOption.sql:
        yield sql.fold_week
        return
    try:
        from metavox_collector.fold import spark
    except ImportError as error:
        raise NotAllowed(f'{error.name} is not installed. Run: pip install "metavox[collector,spark]"') from None
    with spark.cluster(chosen) as cluster:
        yield cluster.fold_week


def _print(closed: Closed, cap: int) -> None:
    console = Console()
    console.width = max(console.width, _ROOM)
    for release in closed.releases:
        console.print(_title(release, synthetic=closed.synthetic), highlight=False, soft_wrap=True)
        console.print(_summary(release))
    year = closed.releases[0].week.year
    console.print(f"Budget of {year} left: ρ = {closed.budget_left / 1e9:g} of {cap / 1e9:g}")


def _title(release: Release, *, synthetic: bool) -> str:
    first = release.week.before(release.weeks - 1)
    weeks = str(release.week) if release.weeks == 1 else f"{first} to {release.week}"
    price = f"ρ = {release.nano_rho / 1e9:g}, ε = {epsilon(release.nano_rho, DELTA):.3g} at δ = {DELTA:g}"
    label = " (SYNTHETIC)" if synthetic else ""
    return f"{weeks} released for '{release.purpose}'{label}, {release.scope} scope: {price}"


def _summary(release: Release) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for head in ("table", "published", "of keys", "threshold", "σ count"):
        table.add_column(head, justify="left" if head == "table" else "right", no_wrap=True)
    for part in release.tables:
        row = (
            part.name,
            str(len(part.cells)),
            str(part.keys),
            f"{part.threshold:g}",
            f"{part.count_scale:.1f}",
        )
        table.add_row(*row)
    return table
