"""``metavox-collector load``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from metavox_collector.cli.options import parse_week
from metavox_collector.clock import utc_now
from metavox_collector.errors import NotAllowed
from metavox_collector.load.bodies import Encoding, Request, requests, templates
from metavox_collector.load.connection import Target
from metavox_collector.load.outcome import Outcome
from metavox_collector.load.senders import Load, send
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week

_REPORTS = 10_000


def load(
    url: Annotated[str, typer.Option(help="The collector, like http://127.0.0.1:8320; it must be a sandbox.")],
    reports: Annotated[
        int | None, typer.Option(help="How many; 10,000, or without an end where --seconds is given.", min=1)
    ] = None,
    connections: Annotated[int, typer.Option(help="How many requests are under way at a time.", min=1)] = 8,
    reports_per_request: Annotated[int, typer.Option(help="The SDK sends 1; a relay sends more.", min=1)] = 1,
    week: Annotated[
        list[Week] | None,
        typer.Option(
            parser=parse_week, metavar="WEEK", help="ISO week; of several in turn; the last one that is over."
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Send no more after so many.", min=0)] = None,
    encoding: Annotated[Encoding, typer.Option(help="How bodies are compressed.")] = Encoding.gzip,
    retry: Annotated[
        float,
        typer.Option(help="For how many seconds to try again what was not taken, as Retry-After says.", min=0),
    ] = 0,
    token_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the token of a closed fleet's sender.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="A new file for the ids of the acknowledged reports, one a line.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Send a sandbox simulated reports as fast as it takes them, and count what it answers."""
    number = _REPORTS if reports is None and seconds is None else reports
    weeks = week or [Week.of(utc_now() - timedelta(weeks=1))]
    with ExitStack() as stack:
        file = None if ids is None else stack.enter_context(ids.open("x", encoding="ascii"))

        def write(request: Request) -> None:
            if file is not None:
                file.writelines(f"{name}\n" for name in request.reports)

        wanted = Load(Target.parse(url, _headers(encoding, token_file)), connections, seconds, retry, write)
        bodies = requests(templates(weeks, SCHEMA), number, together=reports_per_request, encoding=encoding)
        console = Console(stderr=True)
        progress = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        outcome = send(wanted, _counted(bodies, progress, number))
    _print(outcome, as_json=as_json)
    if not outcome.is_whole:
        raise typer.Exit(1)


def _headers(encoding: Encoding, token_file: Path | None) -> dict[str, str]:
    headers = {"Content-Type": "application/x-protobuf"}
    if encoding is not Encoding.identity:
        headers["Content-Encoding"] = encoding.value
    if token_file is not None:
        headers["Authorization"] = f"Bearer {_first_line(token_file)}"
    return headers


def _first_line(file: Path) -> str:
    line = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    if not line.isascii() or not line.isprintable() or not line:
        raise NotAllowed(f"the first line of {file} is no token; metavox-collector token makes one")
    return line


def _counted(bodies: Iterable[Request], progress: Progress, total: int | None) -> Iterator[Request]:
    task = progress.add_task("sending", total=total)
    for request in bodies:
        yield request
        progress.advance(task, len(request.reports))


def _print(outcome: Outcome, *, as_json: bool) -> None:
    figures = outcome.figures()
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    console = Console(soft_wrap=True, highlight=False)
    took = figures["latency_ms"]
    answers = ", ".join(f"{number} answered {status}" for status, number in figures["statuses"].items())
    console.print(
        f"{outcome.spans} cells of simulated reports acknowledged in {figures['seconds']} s: "
        f"{figures['spans_per_second']:,.0f} a second"
    )
    console.print(f"requests: {answers}, {outcome.unanswered} not answered, {outcome.again} sent again")
    console.print(
        f"milliseconds to an answer 200: {', '.join(f'{name} {value:g}' for name, value in took.items())}"
    )
    if not outcome.is_whole:
        console.print(f"not all was taken: {outcome.rejected} cells rejected; {outcome.message}")
