"""What several of the verbs need."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from metavox.cli import console
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.home import Home
    from metavox.telemetry.journal import Journal
    from metavox_privacy.consent import Consent

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_journal(home: Home, consent: Consent, now: datetime) -> Journal:
    """The journal of a consent that was given."""
    from metavox.telemetry.journal import Journal

    return Journal(home.journal_file, consent, SCHEMA, now)


@contextmanager
def clear_errors() -> Iterator[None]:
    """What the disk or the journal refuses is told in one line, and ends the command with 1."""
    try:
        yield
    except BrokenPipeError:  # whoever was listening has gone, and is told nothing
        raise
    except OSError as error:
        console.fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except sqlite3.Error as error:
        console.fail(f"the journal cannot be used: {error}")
