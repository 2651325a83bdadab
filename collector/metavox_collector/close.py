"""Weeks -> Release: fold, pay, draw, write, destroy; all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from metavox_collector.dataset.newest import zipped_file
from metavox_collector.errors import NotAllowed, StoreUnavailable, TooEarly, TooLate, WrongDatabase
from metavox_collector.fold.sql import fold_week
from metavox_collector.fold.sums import Sums
from metavox_collector.settings import Settings
from metavox_collector.store import Database, LabelledRelease, Transaction
from metavox_privacy.budget import AlreadyReleased, Authorization, LedgerBroken, authorize, spent_in
from metavox_privacy.fields import PURPOSES, Purpose, Scope
from metavox_privacy.release import Release, make_release
from metavox_privacy.scope import scope_after
from metavox_privacy.week import Week

Fold: TypeAlias = Callable[[Transaction, Week, Scope], Sums]
"""Sums a week's staged rows for a scope's tables, all of them kept as they are by the transaction it is given.

It raises ValueError for a row that is no cell of the schema.
"""

NOT_SCRUBBED = (
    "released, but the write-ahead log could not be emptied yet; end whatever reads the database and close the "
    "week again, or let the service do it within the hour"
)


@dataclass(frozen=True, slots=True)
class Closed:
    """What a close has done.

    Attributes:
        releases: One for each purpose.
        synthetic: Whether they were made in a sandbox.
        budget_left: Nano-ρ that the week's ISO year has left.
        scrubbed: Whether no byte of the destroyed reports is left in the files; see :data:`NOT_SCRUBBED`.
    """

    releases: tuple[Release, ...]
    synthetic: bool
    budget_left: int
    scrubbed: bool


def close_week(
    database: Database, week: Week, settings: Settings, *, now: datetime, fold: Fold = fold_week
) -> Closed:
    """Release a week for every purpose and destroy its staged reports, in one transaction.

    Where several weeks are released together, it is the last one of them that is named.

    A week that nobody reported is released too, and paid for: whether anybody did is itself protected.

    Older weeks that nobody closed in time are destroyed after it.

    Raises:
        TooEarly: if the week and its days of grace are not over.
        TooLate: if its reports are kept no more, so that nothing but noise could be released.
        NotAllowed: if the yearly cap is above the one the database was born with, or the week ends no period.
        WrongDatabase: if what is staged is not what a receiver takes, like a simulated report outside a sandbox.
        AlreadyReleased: if the week was closed before.
        BudgetExhausted: if the ISO year's budget does not suffice.
        LedgerBroken: if the ledger does not verify, or does not agree with what is kept of the releases.
        StoreUnavailable: if the database is busy or away, or another close is under way.
    """
    weeks = _period(week, settings)
    _require_its_time(weeks, settings, now)
    database.require_cap(settings.yearly_cap_nano_rho)
    expired = min(Week.of(now - settings.accepted_for), weeks[0])
    try:
        with database.read() as transaction:  # apart from the rest, for it takes time and excludes nobody
            require_intact(transaction)
            scope = _scope(transaction, settings)
            _authorize(transaction, week, PURPOSES[0], scope, settings, database)  # before anybody is kept waiting
        with database.closing(*weeks) as transaction:
            sums = _folded(fold, transaction, weeks, scope, database)
            releases = [_release(transaction, week, sums, purpose, settings, database) for purpose in PURPOSES]
            for each in weeks:
                transaction.destroy_staged(each)
            left = settings.yearly_cap_nano_rho - spent_in(transaction.ledger(), week.year)
    except AlreadyReleased as error:
        # It may be here again because the last close could not do what follows.
        keep_file(database)
        if not _cleaned(database, expired):
            raise AlreadyReleased(f"{error}; {NOT_SCRUBBED}") from None
        raise
    cleaned = _cleaned(database, expired)
    keep_file(database)
    return Closed(tuple(releases), database.sandbox, left, cleaned)


def keep_file(database: Database) -> None:
    """Estimate what the newest release says, once for all who ask the service; nobody is kept waiting.

    It does nothing where that file is there, or nothing is released that was not withdrawn.

    Raises:
        StoreUnavailable: if the database is busy or away.
    """
    with database.read() as transaction:
        week, kept = transaction.newest_release("publish"), transaction.newest_file("publish")
        labelled = None if week is None else transaction.release(week, "publish")
    if labelled is None or (kept and kept[0] == week):
        return
    zipped = zipped_file(labelled, database.schema)
    with database.write() as transaction:
        if transaction.newest_release("publish") == week:  # it may have been withdrawn meanwhile
            transaction.keep_file(labelled.release.week, "publish", zipped)


def _period(week: Week, settings: Settings) -> list[Week]:
    """The weeks that are released together up to this one, oldest first; raises NotAllowed where it ends none."""
    if settings.cadence_weeks == 4 and not week.ends_four:
        last = next(later for n in range(1, 4) if (later := week.before(-n)).ends_four)
        raise NotAllowed(f"four weeks are released together, and {week} is within those that end with {last}")
    return [week.before(n) for n in reversed(range(settings.cadence_weeks))]


def _scope(transaction: Transaction, settings: Settings) -> Scope:
    """How finely to cut, by what was published last; the same for all purposes, as one pass sums for all."""
    if settings.scope != "auto":
        return settings.scope
    last = transaction.newest_release("publish")
    labelled = None if last is None else transaction.release(last, "publish")
    return scope_after(None if labelled is None else labelled.release)


def _folded(fold: Fold, transaction: Transaction, weeks: Sequence[Week], scope: Scope, database: Database) -> Sums:
    """The weeks' sums; raises WrongDatabase for what no receiver has staged."""
    try:
        sums = fold(transaction, weeks[0], scope)
        for week in weeks[1:]:
            sums.merge(fold(transaction, week, scope))
    except ValueError as error:
        raise WrongDatabase(f"{error}: the database was altered; nothing was done") from None
    if sums.synthetic and not database.sandbox:
        raise WrongDatabase(
            "simulated reports are staged in a database for production, which takes none: it was altered; "
            "nothing was done"
        )
    return sums


def _release(
    transaction: Transaction, week: Week, sums: Sums, purpose: Purpose, settings: Settings, database: Database
) -> Release:
    """Pay for one release, draw it and write both down."""
    authorization = _authorize(transaction, week, purpose, sums.scope, settings, database)
    release = make_release(sums.tables(purpose), database.schema, authorization)
    transaction.add_release(authorization.settle(release.sha256), LabelledRelease(release, database.sandbox))
    return release


def _authorize(
    transaction: Transaction,
    week: Week,
    purpose: Purpose,
    scope: Scope,
    settings: Settings,
    database: Database,
) -> Authorization:
    return authorize(
        transaction.ledger(),
        week=week,
        weeks=settings.cadence_weeks,
        purpose=purpose,
        scope=scope,
        schema_version=database.schema.version,
        nano_rho=settings.nano_rho(purpose),
        yearly_cap=settings.yearly_cap_nano_rho,
        sandbox=database.sandbox,
    )


def _cleaned(database: Database, expired: Week) -> bool:
    """Destroy what is older; whether no byte of all that is destroyed is left, for all that can be done now."""
    try:
        with database.deleting(takes_time=True) as transaction:  # nobody who closes another week is waited for
            transaction.destroy_staged_before(expired)
    except StoreUnavailable:
        return False
    return database.scrub()


def require_intact(transaction: Transaction) -> None:
    """Hold every ledger entry against the release that it is about; raises LedgerBroken."""
    for entry in transaction.ledger():
        kept = transaction.release(entry.week, entry.purpose)
        if kept is None or (kept.release.sha256, kept.synthetic) != (entry.release, entry.sandbox):
            raise LedgerBroken(
                f"what is kept of {entry.week} for '{entry.purpose}' is not what was released; nothing was done"
            )


def _require_its_time(weeks: Sequence[Week], settings: Settings, now: datetime) -> None:
    week = weeks[-1]
    first = week.end + settings.grace
    if now < first:
        raise TooEarly(f"week {week} can be closed from {first:%Y-%m-%d %H:%M} UTC on; nothing was done")
    end = weeks[0].end + settings.accepted_for
    if now >= end:
        raise TooLate(
            f"the reports of week {weeks[0]} were kept until {end:%Y-%m-%d %H:%M} UTC; to close it now would "
            f"release noise in their place and spend the budget of {week.year}; nothing was done"
        )
