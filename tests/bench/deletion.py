"""What a deletion and the newest release cost a collector on SQLite.

``make bench-collector`` stages reports of four cells, deletes one and writes the others anew as the service does,
without its rests; deletes 300 reports one by one and counts whose names can still be read in the files, before and
after that; and makes the newest release's file of 2,000 cells. It prints the figures and writes
``out/collector.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from metavox_collector.dataset.newest import newest_file
from metavox_collector.stage import Stager
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA
from tests.spans import example_report
from tests.unit.collector.test_delete import fill, left_in
from tests.unit.collector.test_newest import labelled

CELLS = 4
DELETED = 300
RELEASED = 2000


def opened(folder: Path) -> Database:
    """A new database in a folder of its own."""
    folder.mkdir()
    return Database.create(f"sqlite:///{folder}/collector.db", SCHEMA, sandbox=False, yearly_cap=1)


def stage(database: Database, reports: int) -> list[bytes]:
    """Stage so many reports of four cells; their tokens."""
    one = example_report()
    key = one.cells[0].key
    cells = tuple(replace(one.cells[0], key=(f"{at}", *key[1:])) for at in range(CELLS))
    tokens = [hashlib.sha256(f"token {number}".encode()).digest() for number in range(reports)]
    for start in range(0, reports, 1000):
        made = [
            replace(one, report_id=hashlib.sha256(t).hexdigest(), cells=cells) for t in tokens[start : start + 1000]
        ]
        with database.write() as transaction:
            transaction.add_reports(made)
    return tokens


def rewriting(folder: Path, reports: int) -> dict[str, float]:
    """Seconds of the whole and of the longest piece, in which senders wait, and the memory that it took."""
    database = opened(folder)
    tokens = stage(database, reports)
    stager = Stager(database, timedelta(weeks=4))
    stager.delete(tokens[0])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew, see proc(5)
    before, pieces, is_more = peak(), [], True
    while is_more:
        began = time.perf_counter()
        is_more = stager.rewrite_a_piece()
        pieces.append(time.perf_counter() - began)
    database.dispose()
    return {
        "seconds_for_each_1000_reports": sum(pieces) / reports * 1000,
        "longest_piece_seconds": max(pieces),
        "memory_bytes": max(peak() - before, 0),  # what is resident is known to some pages
    }


def copies_left(folder: Path) -> dict[str, int]:
    """Of 300 reports deleted one by one among a thousand: how many names the files hold, before and after."""
    database = opened(folder)
    names = fill(database)
    stager = Stager(database, timedelta(weeks=4))
    deleted = [name for token, name in list(names.items())[::3][:DELETED] if stager.delete(token)]
    stager.scrub()
    before = left_in(folder)
    while stager.rewrite_a_piece():
        pass
    stager.scrub()
    after = left_in(folder)
    database.dispose()
    return {
        "deleted": len(deleted),
        "left_before_rewriting": sum(name in before for name in deleted),
        "left_at_the_end": sum(name in after for name in deleted),
    }


def newest_release() -> dict[str, float]:
    """Seconds and bytes of a file of 2,000 cells, all with histograms of a dozen buckets."""
    release = labelled(RELEASED)
    began = time.perf_counter()
    made = newest_file(release, SCHEMA)
    return {"seconds": time.perf_counter() - began, "bytes": len(made.body), "gzipped_bytes": len(made.zipped)}


def peak() -> int:
    """The most bytes of memory that this process has held since its peak was set back."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reports", type=int, default=100_000, help="how many are staged")
    parser.add_argument("--out", type=Path, default=Path("out/collector.json"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sections: dict[str, Callable[[], dict[str, Any]]] = {
            "rewriting": lambda: rewriting(Path(folder) / "rewriting", asked.reports),
            "copies": lambda: copies_left(Path(folder) / "copies"),
            "newest release": newest_release,
        }
        results = {name: section() for name, section in sections.items()}
    for section, figures in results.items():
        for name, value in figures.items():
            print(f"{section}: {name.replace('_', ' ')} {value:,.4g}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"reports": asked.reports, **results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
