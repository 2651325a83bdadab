"""What several of the verbs need."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from metavox.cli import console
from metavox.errors import MetaVoxError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a new file, for you alone (0600); one that is there stays as it is."),
]


def tell(facts: Mapping[str, Any], *lines: str, as_json: bool) -> None:
    """Answer with facts as JSON, or with the same in lines."""
    console.answer(json_of(facts) if as_json else "\n".join(lines))


def json_of(facts: Mapping[str, Any], indent: int | None = 2) -> str:
    """Facts as JSON, moments after ISO 8601; without ``indent`` on one line."""
    return json.dumps(facts, indent=indent, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read; what is there already is not touched, and ends the command."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        console.fail(f"{path} is there already; name a file that is not")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # half a document is none
        path.unlink(missing_ok=True)
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


@contextmanager
def clear_errors() -> Iterator[None]:
    """What the disk, the journal or a rule refuses is told in one line, and ends the command with 1."""
    try:
        yield
    except BrokenPipeError:  # whoever was listening has gone, and is told nothing
        raise
    except OSError as error:
        console.fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except sqlite3.Error as error:
        console.fail(f"the journal cannot be used: {error}")
    except MetaVoxError as error:
        console.fail(str(error))
