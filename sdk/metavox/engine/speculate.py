"""Drafts by prompt lookup (Saxena, 2023): what followed the last time the output's last words were written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import int64
from numpy.typing import NDArray


@dataclass(frozen=True)
class NGram:
    """vLLM's ``speculative_config`` of the method "ngram".

    Attributes:
        num_speculative_tokens: the most tokens of a draft.
        prompt_lookup_max, prompt_lookup_min: the longest and the shortest run of last tokens to look for.
    """

    num_speculative_tokens: int
    prompt_lookup_max: int
    prompt_lookup_min: int

    def propose(self, tokens: NDArray[int64]) -> NDArray[int64]:
        """The tokens after the latest earlier occurrence of the longest run that ends `tokens`; maybe none.

        Args:
            tokens: [n], prompt and output so far.
        """
        for length in range(min(self.prompt_lookup_max, len(tokens) - 1), self.prompt_lookup_min - 1, -1):
            places = _occurrences(tokens, length)
            if len(places):
                # The latest occurrence with a whole draft behind it, or the one with the most.
                whole = places[places + length + self.num_speculative_tokens <= len(tokens)]
                start = int(whole[-1] if len(whole) else places[0]) + length
                return tokens[start : start + self.num_speculative_tokens]
        return tokens[:0]


def _occurrences(tokens: NDArray[int64], length: int) -> NDArray[np.intp]:
    """Where the last `length` tokens also stand, not counting the end itself; in order."""
    run = tokens[-length:]
    places = np.flatnonzero(tokens[:-length] == run[0])
    for offset in range(1, length):
        places = places[tokens[places + offset] == run[offset]]
    return places
