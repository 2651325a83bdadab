"""The angles of rotary position embedding, plain and with Llama 3's scaling for long contexts."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's stretching of the slow frequencies; the names are those of config.json."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class Rope:
    """`theta` is the base of the frequencies; `scaling` None leaves them as they are."""

    theta: float
    scaling: Llama3Scaling | None = None


def inverse_frequencies(rope: Rope, head_dim: int) -> Tensor:
    """The angle per position of each pair of dimensions: [head_dim / 2] float32, on the CPU."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
    plain = 1.0 / (rope.theta**exponents)
    return plain if rope.scaling is None else _stretch(plain, rope.scaling)


def _stretch(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Divide by `factor` what turns less than low_freq_factor times within the original context, keep what
    turns more than high_freq_factor times, and blend linearly in the number of turns between the two."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / scaling.factor


def rotary_table(rope: Rope, head_dim: int, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines for the positions 0 .. length - 1: two [length, head_dim / 2], on the CPU."""
    positions = torch.arange(length, dtype=torch.float32, device="cpu")
    angles = torch.outer(positions, inverse_frequencies(rope, head_dim))
    return angles.cos().to(dtype), angles.sin().to(dtype)
