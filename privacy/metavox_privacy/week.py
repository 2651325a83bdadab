"""The only unit of time that exists outside the user's machine: the ISO 8601 week, in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_FORM = re.compile(r"(\d{4})-W(\d{2})")


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """An ISO 8601 week, written ``2026-W47``; it runs from Monday 00:00 UTC to the next Monday.

    Raises:
        ValueError: if the year has no such week.
    """

    year: int
    number: int

    def __post_init__(self) -> None:
        if not 2020 <= self.year <= 2200:
            raise ValueError(f"year {self.year} is outside 2020 to 2200")
        datetime.fromisocalendar(self.year, self.number, 1)

    @classmethod
    def parse(cls, text: str) -> Week:
        """Read ``2026-W47``; raises ValueError that says what the form is."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an ISO week; write it like 2026-W47")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Week:
        """The week of an aware datetime."""
        if moment.tzinfo is None:
            raise ValueError("the moment must carry a time zone")
        year, number, _ = moment.astimezone(timezone.utc).isocalendar()
        return cls(year, number)

    @property
    def start(self) -> datetime:
        """Monday 00:00 UTC."""
        return _monday(self.year, self.number)

    @property
    def end(self) -> datetime:
        """The next Monday 00:00 UTC, the first moment that is not in the week."""
        return self.start + timedelta(weeks=1)

    @property
    def ends_four(self) -> bool:
        """Whether it is the last of four weeks that a four-weekly release takes together, counted from 2020-W01."""
        return (self.start - _monday(2020, 1)).days // 7 % 4 == 3

    def before(self, weeks: int) -> Week:
        """The week that is so many weeks earlier."""
        return Week.of(self.start - timedelta(weeks=weeks))

    def __str__(self) -> str:
        return f"{self.year}-W{self.number:02d}"


@lru_cache(maxsize=64)  # a collector asks it of each report, all of which are of a few weeks
def _monday(year: int, number: int) -> datetime:
    return datetime.fromisocalendar(year, number, 1).replace(tzinfo=timezone.utc)
