"""What a deletion and the newest release cost a collector.

``make bench-deletion`` stages reports of four cells on SQLite and on PostgreSQL, deletes one and writes the others
anew as the service does, without its rests; deletes 300 reports one by one from SQLite and counts whose names can
still be read in the files, before and after that; and makes the newest release's file of 2,000 cells. It prints the
figures and writes ``out/deletion.json``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metavox_collector.dataset.newest import zipped_file
from metavox_collector.store import Database, staged
from metavox_collector.store.rows import week_number
from metavox_privacy.schema import SCHEMA
from tests.bench.staged_week import habits, rows
from tests.postgres import server
from tests.spans import WEEK
from tests.unit.collector.deletions import delete, fill, left_in
from tests.unit.collector.test_newest import labelled

DELETED = 300
RELEASED = 2000
TOKEN = b"token"


def opened(url: str) -> Database:
    """A new database."""
    return Database.create(url, SCHEMA, sandbox=False, yearly_cap=1)


def sqlite(folder: Path) -> str:
    """The URL of a new database in a folder of its own."""
    folder.mkdir()
    return f"sqlite:///{folder}/collector.db"


def stage(database: Database, reports: int) -> None:
    """Stage so many reports of four cells, a thousand at a time, and the token's among them."""
    name = hashlib.sha256(TOKEN).digest()
    made = rows(reports, habits(SCHEMA))
    first = {name: [row._replace(report_id=name) for row in next(made)]}
    while first:
        with database.staging({WEEK}) as transaction:
            staging = staged.staging(transaction.connection)
            staging.add(transaction.connection, week_number(WEEK), first)
        first = {some[0].report_id: some for some in itertools.islice(made, 1000)}


def rewriting(url: str, reports: int) -> dict[str, float]:
    """Seconds of the whole and of the longest piece, in which senders wait, and the memory that it took."""
    database = opened(url)
    stage(database, reports)
    began = time.perf_counter()
    assert delete(database, TOKEN)
    deletion = time.perf_counter() - began
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew, see proc(5)
    before, pieces, is_more = peak(), [], True
    while is_more:
        began = time.perf_counter()
        is_more = database.rewrite_a_piece()
        pieces.append(time.perf_counter() - began)
    database.dispose()
    return {
        "deletion_seconds": deletion,
        "seconds_for_each_1000_reports": sum(pieces) / reports * 1000,
        "longest_piece_seconds": max(pieces),
        "memory_bytes": max(peak() - before, 0),  # what is resident is known to some pages
    }


def copies_left(folder: Path) -> dict[str, int]:
    """Of 300 reports deleted one by one among a thousand: how many names the files hold, before and after."""
    database = opened(sqlite(folder))
    names = fill(database)
    deleted = [name for token, name in list(names.items())[::3][:DELETED] if delete(database, token)]
    database.scrub()
    before = left_in(folder)
    while database.rewrite_a_piece():
        pass
    database.scrub()
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
    zipped = zipped_file(release, SCHEMA)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "bytes": len(gzip.decompress(zipped)), "gzipped_bytes": len(zipped)}


def peak() -> int:
    """The most bytes of memory that this process has held since its peak was set back."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reports", type=int, default=100_000, help="how many are staged")
    parser.add_argument("--out", type=Path, default=Path("out/deletion.json"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(durable=True) as postgres:
        sections: dict[str, Callable[[], dict[str, Any]]] = {
            "rewriting on SQLite": lambda: rewriting(sqlite(Path(folder) / "rewriting"), asked.reports),
            "rewriting on PostgreSQL": lambda: rewriting(postgres.new_database(), asked.reports),
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
