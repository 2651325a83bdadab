"""Numbers of addresses without the addresses: a table of fixed size, found by a keyed hash.

It is a count-min sketch (Cormode and Muthukrishnan, 2005) with conservative update. A neighbourhood of addresses
has one place in each of four rows, and its number is the least of the four. No address is stored, nothing is
evicted and nothing grows. Two that share a place can make a number too high, never too low, and a number goes wrong
by one only after about ``WIDTH`` numbers were raised by one. The key is random, is made here, never leaves the
memory, and is thrown away with the numbers; then nobody can say any more whose a number was. Until then whoever
reads this memory can: there are few enough addresses to look at the places of each.
"""

from __future__ import annotations

import secrets
import struct
from hashlib import blake2b

ROWS = 4
WIDTH = 2**16
"""Places in a row; two bytes of the hash say which one."""

_HASH = struct.Struct(f"<{ROWS}H")
_PERIOD = struct.Struct("=d")
_KEY = slice(_PERIOD.size, _PERIOD.size + 32)
_FIRST = 64
_NUMBERS = slice(_FIRST, _FIRST + ROWS * WIDTH * 8)

SIZE = _NUMBERS.stop
"""Bytes of memory that a table needs; of 2 MiB, only those take any that were used."""


class KeyedTable:
    """Four rows of numbers, all 0 at first.

    Several processes may share a table's memory. None waits for another: when two raise the same number at the same
    moment, one of them may go uncounted, in favour of whoever is counted.

    Args:
        memory: ``SIZE`` bytes, all 0 or left by another table of the same kind.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._numbers = memory[_NUMBERS].cast("d")

    def enter(self, period: int) -> None:
        """Begin anew under another key, unless this is the period that is going on; nothing links the two.

        Args:
            period: The number of a day or a week, above 0.
        """
        if _PERIOD.unpack_from(self._memory)[0] != period:
            self._memory[_KEY] = secrets.token_bytes(32)
            self._memory[_NUMBERS] = bytes(SIZE - _FIRST)
            _PERIOD.pack_into(self._memory, 0, period)

    def leave(self, period: int) -> None:
        """Throw away the key and the numbers of every other period than this one, which may not have begun yet."""
        if _PERIOD.unpack_from(self._memory)[0] not in (0, period):
            self._memory[:] = bytes(SIZE)

    def places(self, neighbourhood: bytes) -> list[int]:
        """Where a neighbourhood's numbers are in this period."""
        digest = blake2b(neighbourhood, key=self._memory[_KEY], digest_size=_HASH.size).digest()
        return [row * WIDTH + column for row, column in enumerate(_HASH.unpack(digest))]

    def least(self, places: list[int]) -> float:
        """The number of the neighbourhood that has these places."""
        return min(self._numbers[place] for place in places)

    def raise_to(self, places: list[int], number: float) -> None:
        """Make it no smaller than this, and no other's larger than it must be."""
        for place in places:
            self._numbers[place] = max(self._numbers[place], number)
