"""Week -> Release: fold, pay, draw, write, destroy; all of it or nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from metavox_collector.errors import StoreUnavailable, TooEarly, WrongDatabase
from metavox_collector.fold.sql import fold_week
from metavox_collector.settings import Settings
from metavox_collector.store import Database, LabelledRelease, Transaction
from metavox_privacy.budget import AlreadyReleased, LedgerBroken, authorize, spent_in
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.release import Release, make_release
from metavox_privacy.week import Week

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


def close_week(database: Database, week: Week, settings: Settings, *, now: datetime) -> Closed:
    """Release a week for every purpose and destroy its staged reports, in one transaction.

    A week that nobody reported is released too, and paid for: whether anybody did is itself protected.

    Older weeks that nobody closed in time are destroyed with it.

    Raises:
        TooEarly: if the week and its days of grace are not over.
        NotAllowed: if the yearly cap is above the one the database was born with.
        WrongDatabase: if a simulated report is staged outside a sandbox.
        AlreadyReleased: if the week was closed before.
        BudgetExhausted: if the ISO year's budget does not suffice.
        LedgerBroken: if the ledger does not verify, or does not agree with what is kept of the releases.
        StoreUnavailable: if the database is busy or away.
    """
    _require_over(week, settings, now)
    database.require_cap(settings.yearly_cap_nano_rho)
    with database.read() as transaction:  # apart from the rest, for it takes time and excludes nobody
        require_intact(transaction)
    with database.write() as transaction:
        transaction.destroy_staged_before(min(Week.of(now - settings.accepted_for), week))
    try:
        with database.closing(week) as transaction:
            _require_measured(database, transaction)
            releases = [_release(transaction, week, purpose, settings, database) for purpose in PURPOSES]
            transaction.destroy_staged(week)
            left = settings.yearly_cap_nano_rho - spent_in(transaction.ledger(), week.year)
    except AlreadyReleased as error:
        # It may be here again because the last close could not do this.
        if not _scrubbed(database):
            raise AlreadyReleased(f"{error}; {NOT_SCRUBBED}") from None
        raise
    return Closed(tuple(releases), database.sandbox, left, _scrubbed(database))


def _scrubbed(database: Database) -> bool:
    """Whether no byte of the destroyed reports is left, for all that can be done now."""
    try:
        is_more = True
        while is_more:
            began = time.monotonic()
            is_more = database.rewrite_a_piece()
            time.sleep(is_more * (time.monotonic() - began))  # senders have their turn
    except StoreUnavailable:
        return False
    return database.scrub()


def _release(
    transaction: Transaction, week: Week, purpose: Purpose, settings: Settings, database: Database
) -> Release:
    """Pay for one release, draw it and write both down."""
    authorization = authorize(
        transaction.ledger(),
        week=week,
        purpose=purpose,
        schema_version=database.schema.version,
        nano_rho=settings.nano_rho(purpose),
        yearly_cap=settings.yearly_cap_nano_rho,
        sandbox=database.sandbox,
    )
    release = make_release(fold_week(transaction, week, purpose), database.schema, authorization)
    transaction.add_release(authorization.settle(release.sha256), LabelledRelease(release, database.sandbox))
    return release


def require_intact(transaction: Transaction) -> None:
    """Hold every ledger entry against the release that it paid for; raises LedgerBroken."""
    for entry in transaction.ledger():
        kept = transaction.release(entry.week, entry.purpose)
        if kept is None or (kept.release.sha256, kept.synthetic) != (entry.release, entry.sandbox):
            raise LedgerBroken(
                f"what is kept of {entry.week} for '{entry.purpose}' is not what was released; nothing was done"
            )


def _require_measured(database: Database, transaction: Transaction) -> None:
    if not database.sandbox and transaction.any_staged_synthetic():
        raise WrongDatabase(
            "simulated reports are staged in a database for production, which takes none: it was altered; "
            "nothing was done"
        )


def _require_over(week: Week, settings: Settings, now: datetime) -> None:
    first = week.end + settings.grace
    if now < first:
        raise TooEarly(f"week {week} can be closed from {first:%Y-%m-%d %H:%M} UTC on; nothing was done")
