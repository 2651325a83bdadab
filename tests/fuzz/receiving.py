"""Give the receiver bodies that nobody should send: whatever it is, it answers, keeps nothing and does not grow.

``python -m tests.fuzz.receiving 100000 --seed 7`` prints what came of them as JSON, and ends with a traceback if
something else did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from pathlib import Path

from metavox_collector.packing import Packing
from metavox_collector.receive import Code, Headers, Limits, Media, Receiver, Refused, answer, inflate, understand
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import REASONS, Rejected, encode
from tests.fuzz.bodies import CANARY, body

LIMITS = Limits(2**20, 2**22, 1000)
MOST_GROWTH = 24 * 2**20
"""Bytes; 9 MB is what the allocator has kept after 3,000 bodies, and no more after 100,000."""

SECONDS = 2.0
"""Of CPU for one body; the longest genuine one takes 0.3."""


def main() -> None:
    """Read the command line, and do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(fuzz(given.inputs, given.seed)))


def fuzz(inputs: int, seed: int) -> dict[str, object]:
    """What came of so many bodies, and by how many bytes the process has grown from a tenth of them to the end."""
    chance, receiver, packing = random.Random(seed), Receiver(SCHEMA, LIMITS), Packing(SCHEMA)
    outcomes: Counter[str] = Counter()
    before = 0
    for number in range(inputs):
        if number == inputs // 10:
            before = _resident()
        given = body(chance)
        try:
            outcomes.update(_outcomes(receiver, packing, Headers(*given[:2]), given[2]))
        except BaseException:
            print(f"input {number} of seed {seed}: {given!r}")
            raise
    grown = _resident() - before
    assert grown < MOST_GROWTH, f"the process has grown by {grown} bytes"
    return {"inputs": inputs, "seed": seed, "grown_bytes": grown, "outcomes": dict(outcomes)}


def _outcomes(receiver: Receiver, packing: Packing, headers: Headers, sent: bytes) -> list[str]:
    """What came of one body, after all that can be said of it was found to hold."""
    began = time.process_time()
    try:
        found = understand(headers, inflate(sent, headers.coding, LIMITS.inflated), receiver)
    except Refused as error:
        return [_refusal(error, headers.media)]
    assert time.process_time() - began < SECONDS
    rejected = [item for item in found if isinstance(item, Rejected)]
    for report in found:
        if isinstance(report, Report):
            assert all(packing.unpack(*packing.pack(cell)) == cell for cell in report.cells)
            assert receiver.decode(encode([report], SCHEMA), Media.PROTOBUF) == [report]
    assert {item.reason for item in rejected} <= set(REASONS)
    assert CANARY not in repr(found)
    assert CANARY.encode() not in answer(rejected, headers.media)
    return [item.reason if isinstance(item, Rejected) else "taken" for item in found] or ["nothing"]


def _refusal(refused: Refused, media: Media) -> str:
    assert refused.code in (Code.INVALID, Code.TOO_LARGE)
    assert CANARY not in str(refused)
    assert refused.body(media)
    return refused.code.name


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
