"""What can go wrong at the edge, each with a message that says what to do."""

from __future__ import annotations

from collections.abc import Collection


class CollectorError(Exception):
    """Anything that is told to the operator in one line; nothing half done is left behind."""


class StoreUnavailable(CollectorError):
    """The database is busy or away; the same request may work in a moment.

    Attributes:
        kind: What went wrong in a word or two that hold nothing of the data, for the log.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class BeingClosed(StoreUnavailable):
    """Somebody closes a week this very moment, or writes it anew; whatever is of other weeks is not concerned.

    Attributes:
        weeks: As SQL holds them, like 202647.
    """

    def __init__(self, weeks: Collection[int]) -> None:
        super().__init__("the week is being closed or written anew; try again later", "a close")
        self.weeks = frozenset(weeks)


class WrongDatabase(CollectorError):
    """The database is not there, not a collector's, or of another kind."""


class TooEarly(CollectorError):
    """The week cannot be closed yet."""


class TooLate(CollectorError):
    """The week's reports are kept no more."""


class NotReleased(CollectorError):
    """There is no such release."""


class TargetExists(CollectorError):
    """An export would overwrite something."""


class NotAllowed(CollectorError):
    """An option that this collector, or this kind of database, does not permit."""


class FoldFailed(CollectorError):
    """Other machines did not sum a week."""


class KeyUnusable(CollectorError):
    """A file holds no key that can be used so."""


class NotAPack(CollectorError):
    """A directory cannot be read as a release's pack."""


class ReleaseRefused(CollectorError):
    """A release must not be written as a pack; nothing was written."""


class AuditEnded(CollectorError):
    """A process of the audit ended before it had played."""


class ListingRefused(CollectorError):
    """A data marketplace would not take the listing: a field is missing, too long, or none of those it knows."""
