"""What the verbs share: the answer goes to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import typer


def answer(text: str) -> None:
    """Print what was asked for."""
    _print(text, end=True)


def part(text: str) -> None:
    """Print a piece of what was asked for, at once."""
    _print(text, end=False)


def _print(text: str, *, end: bool) -> None:
    try:
        typer.echo(text, nl=end)
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody reads any more, which typer ends quietly
            raise
        sys.stdout = None  # what is left in its buffer cannot be written at the end either
        fail(f"standard output: {error.strerror or error}")


def note(text: str) -> None:
    """Print what is said beside the answer."""
    typer.echo(text, err=True)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say in one line what went wrong, and end: 1 it failed, 2 it was called wrongly."""
    note(f"metavox: {' '.join(message.split())}")
    raise typer.Exit(code)


def is_watched() -> bool:
    """Whether somebody reads what is said beside the answer."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def watched() -> Iterator[Callable[[str], None]]:
    """Yields what tells a person at a terminal what is going on."""
    if not is_watched():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    spinner = "dots" if console.encoding.startswith("utf") else "line"  # the dots are letters of Unicode
    with console.status("", spinner=spinner) as status:
        yield lambda text: status.update(escape(text))


def on_terminals(*, stdout: bool = True) -> bool:
    """Whether a person sits at all three standard streams, and this is what they are looking at.

    Args:
        stdout: False where the answer may go to a file or a pipe, and the conversation is on the other two.
    """
    streams = (sys.stdin, sys.stderr, *([sys.stdout] if stdout else []))
    try:
        return all(stream.isatty() for stream in streams) and _in_foreground()
    except (AttributeError, OSError, ValueError):  # a stream was closed or taken away, or is another's terminal
        return False


def _in_foreground() -> bool:
    """Whether the keys go to us: a terminal stops a job in the background that reads from it."""
    return not hasattr(os, "tcgetpgrp") or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def open_streams() -> None:
    """Let standard streams that were closed before the start, as daemons' are, be empty and take everything."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # for as long as the process lives


def show_every_letter() -> None:
    """Let a letter that the terminal does not have appear as its number, where printing it would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def is_root() -> bool:
    """Whether this is the superuser, who is nobody in particular."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def columns() -> int:
    """How wide the terminal is."""
    return shutil.get_terminal_size().columns


def read_line() -> str:
    """The next line that is typed, without what was typed before the question was there."""
    return sys.stdin.readline()


def forget_typed() -> None:
    """Drop what was typed ahead: a key pressed before the question is no answer to it."""
    try:
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    except (ImportError, OSError, ValueError):
        return
