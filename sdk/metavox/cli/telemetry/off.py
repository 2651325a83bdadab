"""``metavox telemetry off``: whatever a disk or a collector refuses, the rest is done all the same."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, tell
from metavox.telemetry.home.folders import Home
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.journal.ledger import StoredReport
    from metavox.telemetry.upload.transport import Address
    from metavox.telemetry.upload.uploader import Deletion


@dataclass(slots=True)
class Withdrawal:
    """What was done, as it is done.

    Attributes:
        recorded: Whether the no is written down.
        lines: What was done, in words.
        problems: What could not be done.
        reports: What became of each week's report that may be at a collector: ``deleted``, ``gone`` or ``kept``,
            whose token is still here.
    """

    recorded: bool = False
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reports: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """What the disk or the journal refuses is noted, and keeps nothing else from being done."""
        try:
            yield
        except OSError as error:
            self.problems.append(f"{error.filename or 'a file'}: {error.strerror or error}")
        except sqlite3.Error as error:
            self.problems.append(f"the journal cannot be used: {error}")


def off(
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Have collectors delete what was sent, and delete all else here."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Record a no and delete the counts; from now on nothing is kept and nothing is sent."""
    home, done = Home.from_environment(os.environ), Withdrawal()
    with done.going_on():
        _say_no(home, done)
    if not home.is_nowhere:
        _take_back(home, done, delete=delete)
    decided = home.consent(os.environ)
    if decided.granted:
        done.problems.append(f"contributions are still on: {decided.rule}")
    else:
        done.lines.insert(0, "Contributions are off. Nothing more is kept or sent.")
    facts = {"on": decided.granted, "rule": decided.rule, "recorded": done.recorded}
    if as_json or done.lines:
        tell({**facts, "reports": done.reports, "problems": done.problems}, *done.lines, as_json=as_json)
    if done.problems:
        console.fail("; ".join(done.problems))


def _take_back(home: Home, done: Withdrawal, *, delete: bool) -> None:
    with done.going_on():
        _empty(home, done, tokens_stay=not delete)
    if delete:  # after the no: nothing can be sent meanwhile
        with done.going_on():
            _ask_collectors(home, done)
        with done.going_on():
            _delete_the_rest(home, done)


def _say_no(home: Home, done: Withdrawal) -> None:
    """Record a no; where that fails, on a full disk above all, take the yes away: no file means off.

    What is no yes stays: it is off already, and a no beats the receipt of a deployment, as no file would not.
    """
    from metavox.telemetry.question.ask import answer
    from metavox_privacy.receipt import parse_receipt

    try:
        home.record(answer(frozenset(), SCHEMA, datetime.now(timezone.utc)))
        done.recorded = True
    except OSError as error:
        seen = home.answer()
        earlier = parse_receipt(seen) if isinstance(seen, str) else None
        is_yes = home.is_foreign() or (earlier is not None and bool(earlier.purposes))
        if not (os.path.lexists(home.consent_file) and is_yes):
            raise
        home.consent_file.unlink()
        console.note(f"The no could not be written ({error.strerror}), so the earlier answer was deleted instead.")


def _empty(home: Home, done: Withdrawal, *, tokens_stay: bool) -> None:
    from metavox.telemetry.journal.journal import withdraw

    there = os.path.lexists(home.journal_file)
    try:
        tried = withdraw(home)
    finally:  # withdrawing may have found the journal damaged, and set it aside
        was_damaged = os.path.lexists(home.damaged_file)
        home.damaged_file.unlink(missing_ok=True)
    if was_damaged:
        done.lines.append("The damaged journal is deleted; reports that were sent from it can be named no more.")
    if there:
        done.lines.append("The counts are deleted.")
    if tried and tokens_stay:
        done.reports.update((str(report.week), "kept") for report in tried)
        done.lines.append(
            f"The tokens of reports that were sent, or may have been, stay in {home.journal_file}; "
            "'metavox telemetry off --delete' has these reports deleted."
        )


def _ask_collectors(home: Home, done: Withdrawal) -> None:
    """Have each report deleted where it went to; what was answered is told even if it cannot be noted here."""
    from metavox.telemetry.journal.journal import tried_reports
    from metavox.telemetry.upload import uploader, weekly

    reports = {report.token: report for report in tried_reports(home.journal_file)}

    def ask(token: bytes, address: Address) -> Deletion:
        answered = uploader.delete(token, address)
        _tell_of(reports[token], answered, done)
        return answered

    weekly.delete(home, datetime.now(timezone.utc), ask=ask)


def _tell_of(report: StoredReport, answered: Deletion, done: Withdrawal) -> None:
    from metavox.telemetry.upload.uploader import Deleted, Gone, Refused

    week, where = str(report.week), report.collector
    if isinstance(answered, Deleted):
        done.reports[week] = "deleted"
        done.lines.append(f"{week}: deleted at {where}.")
    elif isinstance(answered, Gone):
        done.reports[week] = "gone"
        done.lines.append(
            f"{week}: no longer at {where}. It never came, was deleted before, or its week is closed: then it was "
            "destroyed, and what is published of it are sums with noise."
        )
    else:
        done.reports[week] = "kept"
        why = f"answered {answered.status}" if isinstance(answered, Refused) else "could not be reached"
        done.problems.append(f"{week}: {where} {why}, so the report's token is kept; run the same again")


def _delete_the_rest(home: Home, done: Withdrawal) -> None:
    if "kept" not in done.reports.values():
        home.delete_journal()
        done.lines.append("Nothing of it is left on this machine" + (" but the no." if done.recorded else "."))
