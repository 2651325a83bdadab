"""What time it is: an argument everywhere, so that a week can be over without waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns an aware moment."""


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(timezone.utc)


def fixed(moment: datetime) -> Clock:
    """A clock that stands still, for demonstrations and tests."""
    return lambda: moment
