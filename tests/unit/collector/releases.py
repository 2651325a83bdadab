"""A released week for tests: many installations, and a budget so large that the noise is next to none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from metavox_collector.close import Closed, close_week
from metavox_collector.settings import Settings
from metavox_collector.store import Database, StagedRow
from metavox_privacy.week import Week
from tests.spans import WEEK, example_report, example_span

AFTER = WEEK.end + timedelta(days=10)
NEXT = Week(2026, 48)
PLENTY = 10**15
CAP = 4 * PLENTY


def generous(url: str, **changes: object) -> Settings:
    """Settings under which figures are all but exact."""
    budget = {"publish_nano_rho": PLENTY, "improve_nano_rho": PLENTY, "yearly_cap_nano_rho": CAP}
    return Settings(db=url, **{**budget, "scope": "full", **changes})  # type: ignore[arg-type]


def stage_fleet(database: Database, installations: int = 60, *, synthetic: bool = False, week: Week = WEEK) -> None:
    """Stage as many reports, every one of the same two kinds of request."""
    spans = (example_span(), example_span(), example_span(error__type="timeout"))
    reports = [
        replace(
            example_report(*spans, token=f"{week} {number}".encode(), schema=database.schema, synthetic=synthetic),
            week=week,
        )
        for number in range(installations)
    ]
    with database.write() as transaction:
        transaction.add_reports(reports)


def released(database: Database, url: str, *, synthetic: bool = False) -> Closed:
    """Stage a fleet and close its week."""
    stage_fleet(database, synthetic=synthetic)
    return close_week(database, WEEK, generous(url), now=AFTER)


def everything(database: Database) -> dict[str, list[object]]:
    """Every row of every table; what is staged, of whichever week, as ``staged_cell``."""
    with database.read() as transaction:
        tables = transaction.tables.metadata.tables
        rows = {name: list(transaction.connection.execute(table.select())) for name, table in tables.items()}
    return rows | {"staged_cell": staged(database)}


def staged(database: Database) -> list[StagedRow]:
    """Every staged row, of whichever week."""
    with database.read() as transaction:
        return [
            row for week in transaction.staged_weeks() for rows in transaction.staged_rows(week) for row in rows
        ]
