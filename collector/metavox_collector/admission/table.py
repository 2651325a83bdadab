"""Numbers of addresses without the addresses: a table of fixed size, found by a keyed hash.

It is a count-min sketch (Cormode and Muthukrishnan, 2005) with conservative update. A neighbourhood of
addresses has one place in each of four rows, and its number is the least of the four. No address and no hash of
one is stored, nothing is evicted and nothing grows. Two that share a place can make a number too high, never
too low, and a number goes wrong by one only after about ``WIDTH`` numbers were raised by one. The key is
random, is made here, never leaves the memory, and is thrown away with the numbers; then nobody can say any more
whose a number was.
"""

from __future__ import annotations

import mmap
import secrets
import struct
from hashlib import blake2b

ROWS = 4
WIDTH = 2**16
"""Places in a row; two bytes of the hash say which one."""

_HASH = struct.Struct(f"<{ROWS}H")
_BYTES = 8


class KeyedTable:
    """Four rows of numbers, all 0 at first; they take 2 MiB at most."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew with another key; nothing links the two."""
        self._key = secrets.token_bytes(32)
        self._numbers = memoryview(mmap.mmap(-1, ROWS * WIDTH * _BYTES)).cast("d")  # pages nobody uses take nothing

    def places(self, neighbourhood: bytes) -> list[int]:
        """Where a neighbourhood's numbers are."""
        digest = blake2b(neighbourhood, key=self._key, digest_size=_HASH.size).digest()
        return [row * WIDTH + column for row, column in enumerate(_HASH.unpack(digest))]

    def least(self, places: list[int]) -> float:
        """The number of the neighbourhood that has these places."""
        return min(self._numbers[place] for place in places)

    def raise_to(self, places: list[int], number: float) -> None:
        """Make it no smaller than this, and no other's larger than it must be."""
        for place in places:
            self._numbers[place] = max(self._numbers[place], number)
