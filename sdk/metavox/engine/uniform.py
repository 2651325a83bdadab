"""The random numbers of sampling: a token's depends on its request's seed and its place, and on nothing else.

So a request draws the same alone, in a batch, after it was preempted, and where tokens are guessed ahead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seeds: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """SplitMix64 (Steele, Lea and Flood, 2014, doi:10.1145/2714064.2660195), entered at any place.

    Args:
        seeds: [n].
        places: [n], from 0: which number of its seed's sequence.

    Returns:
        [n] multiples of 2**-53 in [0, 1).
    """
    # Mixed first: the sequences of two seeds that differ by GOLDEN would be one, shifted.
    state = _mixed(seeds) + (places.astype(np.uint64) + np.uint64(1)) * GOLDEN
    numbers: NDArray[np.float64] = (_mixed(state) >> np.uint64(11)) * 2.0**-53
    return numbers


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
