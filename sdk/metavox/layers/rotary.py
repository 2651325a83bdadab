"""The angles of rotary position embedding, plain and stretched for contexts longer than a model was trained on.

A stretching takes the frequencies, [rotary_dim / 2] float32 radians a position, to those that are used; the
names of its settings are those of config.json. Cosines and sines are multiplied by its `attention_factor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Scaling(Protocol):
    """A way to stretch."""

    @property
    def attention_factor(self) -> float:
        """What cosines and sines are multiplied by."""
        ...

    def stretch(self, frequencies: Tensor, theta: float, length: int) -> Tensor:
        """The frequencies for sequences of at most `length` tokens; `theta` is their base."""
        ...


@dataclass(frozen=True)
class LinearScaling:
    """Positions are divided by `factor` (Chen et al., 2023, arXiv:2306.15595)."""

    factor: float
    attention_factor: float = 1.0

    def stretch(self, frequencies: Tensor, theta: float, length: int) -> Tensor:
        """See `Scaling.stretch`."""
        return frequencies / self.factor


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's stretching of the slow frequencies."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int
    attention_factor: float = 1.0

    def stretch(self, frequencies: Tensor, theta: float, length: int) -> Tensor:
        """Divide by `factor` what turns less than low_freq_factor times within the original context, keep what
        turns more than high_freq_factor times, and blend linearly in the number of turns between the two."""
        turns = self.original_max_position_embeddings * frequencies / (2 * math.pi)
        low, high = self.low_freq_factor, self.high_freq_factor
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return kept * frequencies + (1 - kept) * frequencies / self.factor


@dataclass(frozen=True)
class YarnScaling:
    """YaRN (Peng et al., 2023, arXiv:2309.00071): the same, blended linearly in the index of the frequency.

    Attributes:
        beta_fast, beta_slow: the turns within the original context from which a frequency is kept, and up to
            which it is divided.
        truncate: whether the ends of the blend are rounded outwards to whole indices.
    """

    factor: float
    original_max_position_embeddings: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    def stretch(self, frequencies: Tensor, theta: float, length: int) -> Tensor:
        """See `Scaling.stretch`."""
        half = len(frequencies)
        first, last = (self._index(turns, theta, half) for turns in (self.beta_fast, self.beta_slow))
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        # The blend may end beyond the last index: the bound is that of the dimensions, twice as many.
        first, last = max(first, 0), min(last, 2 * half - 1)
        steps = torch.arange(half, dtype=torch.float32, device=frequencies.device) - first
        divided = (steps / (last - first or 0.001)).clamp(0, 1)
        return divided * frequencies / self.factor + (1 - divided) * frequencies

    def _index(self, turns: float, theta: float, half: int) -> float:
        """Of the frequency that turns so many times within the original context."""
        return half * math.log(self.original_max_position_embeddings / (turns * 2 * math.pi)) / math.log(theta)


@dataclass(frozen=True)
class LongRopeScaling:
    """LongRoPE (Ding et al., 2024, arXiv:2402.13753): each frequency is divided by a factor of its own.

    The keys of a sequence must all be rotated alike, and a cache shares them between sequences. So one of the
    two sets of factors serves all: the long one if any sequence may outgrow the original context.
    """

    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    original_max_position_embeddings: int
    attention_factor: float

    def stretch(self, frequencies: Tensor, theta: float, length: int) -> Tensor:
        """See `Scaling.stretch`."""
        factors = self.long_factor if length > self.original_max_position_embeddings else self.short_factor
        return frequencies / torch.tensor(factors, dtype=torch.float32, device=frequencies.device)


@dataclass(frozen=True)
class Rope:
    """`theta` is the base of the frequencies; the first `rotary_dim` dimensions of a head are rotated, None for
    all; `scaling` None leaves the frequencies as they are."""

    theta: float
    scaling: Scaling | None = None
    rotary_dim: int | None = None


def rotary_table(rope: Rope, head_dim: int, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines for the positions 0 .. length - 1: two [length, rotary_dim / 2], on the CPU."""
    d = rope.rotary_dim or head_dim
    exponents = torch.arange(0, d, 2, dtype=torch.float32, device="cpu") / d
    frequencies, factor = 1.0 / (rope.theta**exponents), 1.0
    if rope.scaling is not None:
        frequencies = rope.scaling.stretch(frequencies, rope.theta, length)
        factor = rope.scaling.attention_factor
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device="cpu"), frequencies)
    return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)
