"""The memory in which admission counts: a process's own, or one that all workers of a service share.

A file that exists in memory alone (``memfd_create``) is shared by handing its descriptor to each worker. It has no
name and is on no disk, and is gone with the last process that holds it.
"""

from __future__ import annotations

import mmap
import os
import sys

from metavox_collector.admission.table import SIZE, KeyedTable


def shared(tables: int) -> int | None:
    """A new descriptor of memory for so many tables; None where the system has no such memory: only Linux has."""
    if sys.platform != "linux":
        return None
    descriptor = os.memfd_create("metavox-admission")
    os.ftruncate(descriptor, tables * SIZE)
    return descriptor


def tables(number: int, descriptor: int | None) -> list[KeyedTable]:
    """Tables in shared memory, or in this process's own where there is none."""
    memory = memoryview(mmap.mmap(-1 if descriptor is None else descriptor, number * SIZE))
    return [KeyedTable(memory[i * SIZE : (i + 1) * SIZE]) for i in range(number)]
