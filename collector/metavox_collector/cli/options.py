"""Options that several verbs share, and how their words are read."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from metavox_collector.clock import Clock, fixed, utc_now
from metavox_collector.errors import NotAllowed
from metavox_privacy.week import Week


def parse_week(text: str) -> Week:
    """Read ``2026-W47``."""
    try:
        return Week.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a week that can be: {error}") from None


def parse_moment(text: str) -> datetime:
    """Read an ISO 8601 moment with a time zone."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a moment; write it like 2026-12-07T00:00:00Z") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} names no time zone; write it like 2026-12-07T00:00:00Z")
    if not 2021 <= moment.year < 2200:  # where the weeks before and after it exist
        raise typer.BadParameter(f"{text!r} is not between 2021 and 2199")
    return moment


Db: TypeAlias = Annotated[
    str | None, typer.Option("--db", help="SQLAlchemy URL of the database, like sqlite:///collector.db.")
]
Config: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings.", show_default=False)
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WeekOption: TypeAlias = Annotated[
    Week, typer.Option("--week", parser=parse_week, metavar="WEEK", help="ISO week, like 2026-W47.")
]


class PurposeOption(str, Enum):
    """For whom a release was made."""

    publish = "publish"
    improve = "improve"


Now: TypeAlias = Annotated[
    datetime | None,
    typer.Option(
        "--now",
        parser=parse_moment,
        metavar="MOMENT",
        help="A pretended moment, like 2026-12-07T00:00Z; sandbox only.",
    ),
]


def clock_of(now: datetime | None, *, sandbox: bool) -> Clock:
    """The real clock, or in a sandbox the pretended one.

    Raises:
        NotAllowed: if time is pretended outside a sandbox.
    """
    if now is None:
        return utc_now
    if not sandbox:
        raise NotAllowed("--now pretends another time, which only a sandbox permits")
    return fixed(now)
