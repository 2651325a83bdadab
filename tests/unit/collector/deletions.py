"""Reports that are staged and deleted as the service does it, for tests, and what is left of them in the files."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metavox_collector.stage import commit
from metavox_collector.stage.commit import Deletion, Delivery
from metavox_collector.store import Database
from metavox_privacy.report import Report, ReportCell, apportion, report_id_of
from metavox_privacy.week import Week
from metavox_privacy.wire import Rejected
from tests.spans import WEEK, example_report
from tests.unit.collector.releases import staged as staged_rows

TOKEN = bytes(range(32))


def report(token: bytes = TOKEN, **changes: Any) -> Report:
    """A report of one cell."""
    return replace(example_report(token=token), **changes)


def stage(database: Database, *reports: Report) -> list[Rejected]:
    """What the service does with a delivery; which of its reports were not taken."""
    (outcome,) = commit.store(database, [Delivery(reports)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def delete(database: Database, token: bytes, until: Week = WEEK) -> bool:
    """What the service does with a deletion; whether the report was staged."""
    (outcome,) = commit.delete(database, [Deletion(report_id_of(token), until)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def staged(database: Database) -> set[str]:
    """The names of the reports that are staged."""
    return {row.report_id.hex() for row in staged_rows(database)}


def left_in(directory: Path) -> bytes:
    """Every byte of every file."""
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


def fill(database: Database, weeks: Sequence[Week] = (WEEK,)) -> dict[bytes, bytes]:
    """Stage a thousand reports of many sizes, as many of each week, a few at a time; their names by token.

    So SQLite splits pages and leaves copies in them: without writing a week anew, some names were left.
    """
    chance, one = random.Random(3), example_report(schema=database.schema)
    names, reports = {}, []
    for number in range(1000):
        token = hashlib.sha256(f"token {number}".encode()).digest()
        name = hashlib.sha256(token).digest()
        names[token] = name
        cells = tuple(_cell(one.cells[0], chance) for _ in range(1 + number % 2))
        reports.append(replace(one, report_id=name.hex(), week=weeks[number % len(weeks)], cells=cells))
    for start in range(0, len(reports), 8):
        with database.write() as transaction:
            transaction.add_reports(reports[start : start + 8])
    return names


def _cell(like: ReportCell, chance: random.Random) -> ReportCell:
    histograms = {}
    for name, units in like.histograms.items():
        held = min(chance.randint(1, 8), len(units))
        histograms[name] = apportion([1] * held + [0] * (len(units) - held), 256)
    return ReportCell(like.key, histograms)
