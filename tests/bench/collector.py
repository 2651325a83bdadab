"""The collector's speed beside Phoenix's and MLflow's, which are installed from the package index, in one run.

``make bench-collector`` starts each of them as its operator would, lets eight connections send, and reports durable
spans a second (those that were acknowledged and are in the database), processor seconds for 1,000 spans of all
processes of the receiver, latencies, and how many acknowledged spans are lost when all its processes are killed at
the last answer. A span of ours is a contribution's cell with six histograms; reports have four, and a request has
one report, as the SDK sends them, or twelve. A span of the peers has 14 attributes; a request has 50 spans, in
traces of four, as our reports have four cells, or in one, which MLflow likes better; the faster peer is the fastest
of these runs. Bodies are gzip. ``make soak-collector`` watches the memory over 500,000 reports. Both print the
figures beside their targets and write ``out/collector.json`` and ``out/collector_soak.json``. They want the machine
for themselves; the record says what share others took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench.receivers import services
from tests.bench.receivers.report import PEERS, POSTGRESQL, SQLITE, figures, print_figures, print_runs
from tests.bench.receivers.runs import Run, measure, soak
from tests.bench.receivers.services import Receiver, Service
from tests.postgres import Server, server

CELLS = 4


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Service]:
    """One process, one file."""
    with services.ours(f"sqlite:///{folder}/collector.db", 1) as service:
        yield service


@contextmanager
def on_postgresql(database: Server, _folder: Path) -> Iterator[Service]:
    """Two workers and a server that waits for the disk, as an operator's does."""
    pid = int((database.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
    with services.ours(database.new_database(), 2, pid) as service:
        yield service


def receivers(only: str, stack: ExitStack) -> list[Receiver]:
    """Those whose name holds a word; PostgreSQL's server is started only where it is needed."""
    found = [
        Receiver(name, on_sqlite, services.reports(together))
        for name, together in zip(SQLITE, (1, 12), strict=True)
    ]
    if any(only in name for name in POSTGRESQL):
        start = partial(on_postgresql, stack.enter_context(server(durable=True)))
        found += [
            Receiver(name, start, services.reports(together))
            for name, together in zip(POSTGRESQL, (1, 12), strict=True)
        ]
    shapes = [(start, of) for start in (services.phoenix, services.mlflow) for of in (4, 50)]
    found += [
        Receiver(name, start, services.peers_traces(of)) for name, (start, of) in zip(PEERS, shapes, strict=True)
    ]
    return [receiver for receiver in found if only in receiver.name]


def compared(asked: argparse.Namespace, console: Console) -> list[Run]:
    """Each receiver in turn, in a folder of its own."""
    runs = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for number, receiver in enumerate(receivers(asked.only, stack)):
            console.print(f"{receiver.name} ...")
            (own := folder / str(number)).mkdir()
            spans, killed = (asked.peer_spans, 3000) if receiver.name in PEERS else (asked.spans, 12_000)
            runs.append(measure(receiver, own, spans=spans, killed=killed, connections=asked.connections))
    return runs


def soaked(asked: argparse.Namespace) -> dict[str, Any]:
    """One process on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(SQLITE[1], on_sqlite, services.reports(12))
        return soak(receiver, Path(folder), spans=asked.soak * CELLS, connections=asked.connections)


def write(path: Path, record: dict[str, Any]) -> None:
    """The record with what it was measured on."""
    machine = {
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": sys.version.split()[0],
        **{name: version(name) for name in ("metavox", "sqlalchemy", "uvicorn")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **record}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--spans",
        type=int,
        default=100_000,
        help="how many each of ours is sent; bodies of more are not all made ahead",
    )
    parser.add_argument("--peer-spans", type=int, default=4000, help="how many each peer is sent")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--only", default="", help="receivers whose name holds this")
    parser.add_argument("--soak", type=int, help="watch the memory over so many reports, and measure nothing else")
    parser.add_argument("--out", type=Path, default=Path("out/collector.json"))
    asked = parser.parse_args()
    console = Console()
    console.width = max(console.width, 130)  # where the table would break names
    if asked.soak:
        memory = soaked(asked)
        print_figures(console, list(figures({}, memory)))
        write(asked.out.with_stem("collector_soak"), {"soak": memory})
        return
    runs = compared(asked, console)
    found = list(figures({run.name: run for run in runs}, None))
    print_runs(console, runs)
    print_figures(console, found)
    claims = [{**asdict(figure), "is_met": figure.is_met} for figure in found]
    write(asked.out, {"runs": [asdict(run) for run in runs], "claims": claims})


if __name__ == "__main__":
    main()
