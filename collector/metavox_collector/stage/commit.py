"""What many requests brought -> one transaction -> the outcome of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from metavox_collector.errors import BeingClosed, StoreUnavailable
from metavox_collector.store import Database, week_number
from metavox_privacy.report import Report
from metavox_privacy.week import Week
from metavox_privacy.wire import Rejected

REASONS = ("week_closed", "deleted")
"""Why the database does not take a report."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request's reports."""

    reports: Sequence[Report]


@dataclass(frozen=True, slots=True)
class Deletion:
    """A report that somebody wants deleted.

    Attributes:
        report_id: Its name.
        until: The last week that a delivery of it which is still on its way may be of.
    """

    report_id: str
    until: Week


T = TypeVar("T")
R = TypeVar("R")
Outcomes: TypeAlias = list[R | Exception]


def store(database: Database, deliveries: Sequence[Delivery]) -> Outcomes[list[Rejected]]:
    """Stage the reports of several requests; of each, those that were not taken, or why nothing of it was."""
    return _together(partial(_store, database), deliveries)


def delete(database: Database, deletions: Sequence[Deletion]) -> Outcomes[bool]:
    """Delete several reports; of each, whether it was staged, or why it is not known."""
    return _together(partial(_delete, database), deletions)


def _together(do: Callable[[Sequence[T]], list[R]], group: Sequence[T]) -> Outcomes[R]:
    """Do all in one transaction, or, when something in it fails, apart: no request spoils another one."""
    if not group:
        return []
    try:
        return [*do(group)]
    except BeingClosed as error:
        return _apart(do, group, error)
    except StoreUnavailable as error:
        return [error] * len(group)  # away for one is away for all; halves would only wait for it again
    except Exception as error:  # whatever it was, whoever waits must be told
        if len(group) == 1:
            return [error]
    middle = len(group) // 2
    return [*_together(do, group[:middle]), *_together(do, group[middle:])]


def _apart(do: Callable[[Sequence[T]], list[R]], group: Sequence[T], closing: BeingClosed) -> Outcomes[R]:
    """Do what is of no week that is being closed."""
    waits = [_is_of(item, closing.weeks) for item in group]
    others: Outcomes[R] = _together(do, [item for item, must in zip(group, waits, strict=True) if not must])
    done = iter(others)
    return [closing if must else next(done) for must in waits]


def _is_of(item: object, weeks: frozenset[int]) -> bool:
    """Whether something has to wait for the close of one of the weeks; of a deletion nobody knows which it is."""
    return not isinstance(item, Delivery) or any(week_number(report.week) in weeks for report in item.reports)


def _store(database: Database, deliveries: Sequence[Delivery]) -> list[list[Rejected]]:
    reports = [report for delivery in deliveries for report in delivery.reports]
    with database.staging({report.week for report in reports}) as transaction:
        closed = transaction.closed_weeks()
        deleted = transaction.deleted_among([report.report_id for report in reports])
        transaction.add_reports([report for report in reports if _refusal(report, closed, deleted) is None])
    return [
        [no for report in delivery.reports if (no := _refusal(report, closed, deleted))] for delivery in deliveries
    ]


def _refusal(report: Report, closed: frozenset[Week], deleted: frozenset[str]) -> Rejected | None:
    if report.week in closed:
        return Rejected("week_closed", "the week is closed", len(report.cells))
    if report.report_id in deleted:
        return Rejected("deleted", "the report was deleted", len(report.cells))
    return None


def _delete(database: Database, deletions: Sequence[Deletion]) -> list[bool]:
    with database.deleting() as transaction:
        return [transaction.delete_report(deletion.report_id, deletion.until) for deletion in deletions]
