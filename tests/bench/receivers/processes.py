"""What a service's processes have taken: processor seconds and memory, from /proc; and their end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for each in _all():
        children.setdefault(int(_stat(each)[1]), []).append(each)
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def processor_seconds(pid: int) -> float:
    """User's and system's, of the tree and of its ended children that were waited for."""
    return sum(sum(map(int, _stat(each)[11:15])) for each in tree(pid)) / TICK


def resident_bytes(pid: int) -> list[int]:
    """Memory of each process of the tree, what they share counted in each."""
    return [int(_stat(each)[21]) * PAGE for each in tree(pid)]


def kill_tree(pid: int) -> None:
    """SIGKILL to all of it at once: stopped first, for none may mend what another's death breaks."""
    for how in (signal.SIGSTOP, signal.SIGKILL):
        for each in tree(pid):
            with suppress(ProcessLookupError):
                os.kill(each, how)


def _all() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third, the state, on; zeros when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 50
    return text.rpartition(")")[2].split()
