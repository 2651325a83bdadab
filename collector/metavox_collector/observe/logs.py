"""What is told to the operator while it runs: a line on stderr for each event, as text or as JSON.

The standard library's logging suffices: there are a dozen messages, all ours, and no context that a library would
have to carry from line to line. Words of others may be a sender's, so none is written: of an error its type and the
places in the code, of a library's message what stands before its values are put in.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

Format: TypeAlias = Literal["text", "json"]

_OURS = __name__.partition(".")[0]

_log = logging.getLogger(__name__)


def configure(how: Format) -> None:
    """Write warnings and errors of this process to stderr, those of Python itself left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if how == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    warnings.simplefilter("ignore")  # of a socket that was left open they tell who was at its other end


def tell_of_the_uncaught() -> None:
    """Have what nobody catches, in whatever thread, written like every other error: Python would tell its words."""
    sys.excepthook = lambda *error: uncaught(error)
    threading.excepthook = lambda told: uncaught((told.exc_type, told.exc_value, told.exc_traceback))
    sys.unraisablehook = lambda told: uncaught((told.exc_type, told.exc_value, told.exc_traceback))


def uncaught(error: Any) -> None:
    """An error, or what ``sys.exc_info`` says of one, that nobody expected."""
    _log.critical("an error was not caught", exc_info=error)


class TextLines(logging.Formatter):
    """A line for a person, and where in the code it went wrong below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        line = f"{record.levelname}: {_message(record)}"
        return f"{line}\n{_places(record.exc_info[1])}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how bad, who says it, what, and where in the code it went wrong."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        fields = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": _message(record),
        }
        if record.exc_info:
            fields["traceback"] = _places(record.exc_info[1])
        return json.dumps(fields, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    """What is said; of a library's message its first line, as it stands in the library."""
    if record.name.partition(".")[0] == _OURS:
        return record.getMessage()
    return str(record.msg).strip().partition("\n")[0]


def _places(error: BaseException | None) -> str:
    """Where it went wrong, and errors of which types."""
    return "".join(_traced(error, set())).rstrip()


def _traced(error: BaseException | None, seen: set[int]) -> Iterator[str]:
    """The lines of a traceback without the errors' words, causes first."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    context = None if error.__suppress_context__ else error.__context__
    for before in (error.__cause__ or context, *getattr(error, "exceptions", ())):
        yield from _traced(before, seen)
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}\n"
