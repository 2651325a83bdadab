"""What it costs to read a cell: by its bytes and through protobuf's objects, with what stands before and after it.

``python -m tests.bench.reading`` prints microseconds a cell, the least of some dozen rounds each, for reports of a
simulated fleet that have one to three cells, and writes ``out/reading.json``.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_collector.packing import Packing
from metavox_collector.receive.inflate import Coding, inflate
from metavox_collector.simulate.fleet import fleet
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import encode
from metavox_privacy.wire.canonical import Canonical
from metavox_privacy.wire.decode import Decoder

REPORTS, ROUNDS = 60, 60


def least_seconds(work: Callable[[], None]) -> float:
    """Of one round, the least of all."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def main() -> None:
    """Measure, print and write the JSON."""
    reports = list(fleet(REPORTS, Week(2026, 44), SCHEMA, seed=3))
    cells = [cell for report in reports for cell in report.cells]
    bodies = [encode([report], SCHEMA) for report in reports]
    zipped = [gzip.compress(body) for body in bodies]
    decoder, packing = Decoder(SCHEMA), Packing(SCHEMA)
    canonical = Canonical(decoder)

    def undo_gzip() -> None:
        for body in zipped:
            inflate(body, Coding.GZIP, 2**22)

    def by_bytes() -> None:
        for body in bodies:
            assert canonical.read(body) is not None

    def through_protobuf() -> None:
        for body in bodies:
            decoder.decode(ExportTraceServiceRequest.FromString(body))

    def pack() -> None:
        for cell in cells:
            packing.pack(cell)

    steps = {"gzip": undo_gzip, "by bytes": by_bytes, "through protobuf": through_protobuf, "packing": pack}
    found = {name: least_seconds(step) / len(cells) * 1e6 for name, step in steps.items()}
    for name, microseconds in found.items():
        print(f"{name}: {microseconds:.1f} us a cell")
    print(f"by bytes: {found['through protobuf'] / found['by bytes']:.1f} times as fast as through protobuf")
    out = Path("out/reading.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        json.dumps({"cells": len(cells), "microseconds_a_cell": found}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
