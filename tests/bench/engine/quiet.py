"""Whether the machine is idle: how much of its processors others take, from the kernel's own count of ticks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
SAMPLE_SECONDS = 0.5


@dataclass
class Share:
    """The part of all processors' time that others took, in [0, 1]; None where it cannot be known."""

    value: float | None = None


@contextmanager
def watch_others() -> Iterator[Share]:
    """Fills in, at the end of the block, what processes other than this one and its ended children took."""
    share, began, before = Share(), time.perf_counter(), _busy_and_own()
    yield share
    after, elapsed = _busy_and_own(), time.perf_counter() - began
    if before is not None and after is not None:
        busy, own = after[0] - before[0], after[1] - before[1]
        share.value = min(1.0, max(0.0, busy - own) / (elapsed * (os.cpu_count() or 1)))


def wait_until_idle(seconds: float, most: float = 0.05) -> float | None:
    """Wait until others take at most that share, or for `seconds`; returns the last share seen."""
    end = time.monotonic() + seconds
    while True:
        with watch_others() as share:
            time.sleep(SAMPLE_SECONDS)
        if share.value is None or share.value <= most or time.monotonic() >= end:
            return share.value


def _busy_and_own() -> tuple[float, float] | None:
    """Seconds of processor time since the start: the whole machine's, and this process's with its children."""
    if not STAT.exists():
        return None
    ticks = [int(field) for field in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle, waiting = ticks[3], ticks[4]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])
