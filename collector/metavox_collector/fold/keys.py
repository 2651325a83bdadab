"""Keys <-> numbers, for arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metavox_collector.fold.batch import Integers
from metavox_privacy.anonymize import CellKey


class KeySpace:
    """Every key that there can be, numbered as :func:`itertools.product` counts through them.

    Attributes:
        size: How many that are.
    """

    def __init__(self, vocabularies: Sequence[Sequence[str]]) -> None:
        self._words = vocabularies
        self._shape = tuple(map(len, vocabularies))
        self._strides = [int(np.prod(self._shape[i + 1 :], dtype=np.int64)) for i in range(len(self._shape))]
        self._offset = [
            {word: place * stride for place, word in enumerate(words)}
            for words, stride in zip(vocabularies, self._strides, strict=True)
        ]
        self.size = int(np.prod(self._shape, dtype=np.int64))

    def codes(self, places: Integers) -> Integers:
        """(n,) The numbers of keys, from the (n, dimensions) places of their words in the vocabularies."""
        codes: Integers = places @ np.array(self._strides)
        return codes

    def find(self, key: object) -> int | None:
        """The number of a key; None for what is none."""
        if not isinstance(key, tuple) or len(key) != len(self._shape):
            return None
        try:
            return sum([offset[word] for offset, word in zip(self._offset, key, strict=True)])
        except KeyError:
            return None

    def key(self, code: int) -> CellKey:
        """The key of a number."""
        places = np.unravel_index(code, self._shape)
        return tuple(words[int(place)] for words, place in zip(self._words, places, strict=True))
