"""The progress bar of a call with many prompts."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol


class Request(Protocol):
    """What is watched."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        ...

    @property
    def num_generation_tokens(self) -> int:
        """Tokens generated so far."""
        ...


REFRESH = 0.1  # seconds: thousands of requests take a moment to count


@contextlib.contextmanager
def progress(requests: Sequence[Request], wanted: bool) -> Iterator[Callable[[], None]]:
    """Yields what to call from time to time to show how far the requests are, and how many tokens a second.

    Nothing is shown for a single request, or where standard error is no terminal.
    """
    if not wanted or len(requests) < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.0f} tokens/s"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Generating", total=len(requests), speed=0.0)
        began = shown = time.monotonic()

        def show() -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < REFRESH:
                return
            shown = now
            tokens = sum(request.num_generation_tokens for request in requests)
            bar.update(task, completed=sum(request.finished for request in requests), speed=tokens / (now - began))

        yield show
