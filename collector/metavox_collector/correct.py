"""A word about a release that was wrong: one more ledger entry, and nothing drawn again."""

from __future__ import annotations

from metavox_collector.close import keep_file, require_intact
from metavox_collector.errors import NotReleased
from metavox_collector.store import Database
from metavox_privacy import budget
from metavox_privacy.budget import LedgerEntry, Reason
from metavox_privacy.fields import Purpose
from metavox_privacy.week import Week


def correct_release(database: Database, week: Week, purpose: Purpose, reason: Reason) -> LedgerEntry:
    """Say in the ledger what is wrong with a release; returns the entry, which costs nothing.

    What the service answers of a release that was withdrawn, or whose figures were wrong, goes in the same
    transaction. Then it is made anew: of the newest release that is left, and by this version of the software.

    Args:
        database: Where it is kept.
        week: The week that was released, or the last one of several.
        purpose: For whom.
        reason: What is wrong. A release that was withdrawn stays so.

    Raises:
        NotReleased: if there is no such release, or it was withdrawn.
        LedgerBroken: if the ledger does not verify, or does not agree with what is kept of the releases.
        StoreUnavailable: if the database is busy or away, or a close is under way.
    """
    with database.read() as transaction:  # apart from the rest, for it takes time and excludes nobody
        require_intact(transaction)
    with database.closing() as transaction:  # of no week: it excludes closes, which append too, and no sender
        try:
            entry = budget.correct(transaction.ledger(), week=week, purpose=purpose, reason=reason)
        except budget.NotReleased as error:
            raise NotReleased(f"{error}; nothing was done") from None
        transaction.add_correction(entry)
        if reason != "documents corrected":
            transaction.drop_file(week, purpose)
    keep_file(database)
    return entry
