"""What a completion's next token is allowed to be, where that depends on the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Matcher(Protocol):
    """One completion's state. It is asked for the next token's choice, then told the token."""

    def fill(self, allowed: NDArray[np.int32]) -> None:
        """Clear the bits of the tokens that may not come next.

        Args:
            allowed: [ceil(vocab_size / 32)]; bit i % 32 of word i // 32 is token i's. All are set.
        """
        ...

    def accept(self, token: int) -> None:
        """Go on by a token that was allowed."""
        ...


class Constraint(Protocol):
    """What a request asks of its completions, checked and compiled."""

    def matcher(self) -> Matcher:
        """The state of a new completion."""
        ...


class BadWords:
    """Sequences of token ids that do not come: a `Constraint`.

    Args:
        words: each of at least one id. Only the output counts: a word that begins in the prompt may end in it.
    """

    def __init__(self, words: list[tuple[int, ...]]) -> None:
        self.always = np.unique(np.array([word[0] for word in words if len(word) == 1], dtype=np.int64))
        self.longer = [word for word in words if len(word) > 1]
        self.reach = max(map(len, words)) - 1

    def forbidden(self, choice: frozenset[int]) -> Iterator[frozenset[int]]:
        """The ids that are forbidden together: everywhere, and behind each beginning of a word that can come.

        Args:
            choice: the only tokens that come, empty for all.
        """
        always = frozenset(self.always.tolist())
        yield always
        last: dict[tuple[int, ...], set[int]] = {}
        for word in self.longer:
            last.setdefault(word[:-1], set()).add(word[-1])
        for begun in last:
            if always.isdisjoint(begun) and (not choice or choice.issuperset(begun)):
                yield always.union(*(last.get(begun[at:], ()) for at in range(len(begun))))

    def matcher(self) -> BadWordsMatcher:
        """The state of a new completion."""
        return BadWordsMatcher(self)


class BadWordsMatcher:
    """The end of one completion's output, as far back as a bad word reaches: a `Matcher`."""

    def __init__(self, words: BadWords) -> None:
        self._words = words
        self._end: list[int] = []

    def fill(self, allowed: NDArray[np.int32]) -> None:
        """See `Matcher.fill`."""
        forbidden = [word[-1] for word in self._words.longer if tuple(self._end[1 - len(word) :]) == word[:-1]]
        clear_bits(allowed, np.concatenate((self._words.always, np.array(forbidden, dtype=np.int64))))

    def accept(self, token: int) -> None:
        """See `Matcher.accept`."""
        if self._words.longer:
            self._end = [*self._end, token][-self._words.reach :]


def clear_bits(words: NDArray[np.int32], ids: NDArray[np.int64]) -> None:
    """Clear the bits of `ids`, which are below 32 * len(words)."""
    np.bitwise_and.at(words.view(np.uint32), ids >> 5, ~(np.uint32(1) << (ids & 31).astype(np.uint32)))


def set_bits(words: NDArray[np.int32], ids: NDArray[np.int64]) -> None:
    """Set the bits of `ids`, which are below 32 * len(words)."""
    np.bitwise_or.at(words.view(np.uint32), ids >> 5, np.uint32(1) << (ids & 31).astype(np.uint32))
