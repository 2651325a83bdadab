"""Counters by the hundred thousand that are nearly all small or never used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from metavox_collector.fold.batch import Integers

_DIGIT_BITS = 16
_ROOM = 256
_AT_A_TIME = 4096


class Counters:
    """Rows of counters that grow without bound, each made when it is first added to.

    A counter is a number written in digits of 16 bits: this holds the lowest, and another one like it the higher
    digits of the few rows that need them. So a row of 322 takes 644 bytes until a counter passes 65,535.

    Attributes:
        rows: How many rows there can be.
        width: How many counters are in each.
    """

    def __init__(self, rows: int, width: int) -> None:
        self.rows = rows
        self.width = width
        self._slot = np.full(rows, -1, np.int32)
        self._used = 0
        self._digits = np.zeros((0, width), np.uint16)
        self._higher: Counters | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What another process has sent holds memory that is not its own, and so cannot grow."""
        self.__dict__.update(state, _digits=state["_digits"].copy())

    def add(self, rows: Integers, values: Integers) -> None:
        """Add ``(len(rows), width)`` values, none below zero, to as many different rows."""
        slots = self._slots(rows)
        sums = self._digits[slots] + values
        self._digits[slots] = sums & (1 << _DIGIT_BITS) - 1
        carry = sums >> _DIGIT_BITS
        carried = np.flatnonzero(carry.any(axis=1))
        if carried.size:
            self._higher = self._higher or Counters(self.rows, self.width)
            self._higher.add(rows[carried], carry[carried])

    def values(self, rows: Integers) -> Integers:
        """(len(rows), width) What was added up; zeros where nothing was."""
        slots = self._slot[rows]
        found = np.zeros((len(rows), self.width), np.int64)
        found[slots >= 0] = self._digits[slots[slots >= 0]]
        return found if self._higher is None else found + (self._higher.values(rows) << _DIGIT_BITS)

    def parts(self) -> Iterator[tuple[Integers, Integers]]:
        """The rows that are used and their values, piece by piece, as :meth:`add` takes them."""
        used = np.flatnonzero(self._slot >= 0)
        for start in range(0, len(used), _AT_A_TIME):
            rows = used[start : start + _AT_A_TIME]
            yield rows, self.values(rows)

    def _slots(self, rows: Integers) -> Integers:
        new = rows[self._slot[rows] < 0]
        self._slot[new] = np.arange(self._used, self._used + len(new))
        self._used += len(new)
        if self._used > len(self._digits):
            room = min(self._used + self._used // 8 + _ROOM, self.rows)
            # In place: the system moves the pages, so that there are never two copies of a large one.
            self._digits.resize((room, self.width), refcheck=False)
        return self._slot[rows].astype(np.int64)
