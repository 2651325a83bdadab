"""How a model asks for its weights: by the names that the hub's checkpoints give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from metavox_kernels import PackedWeight

Part = tuple[str, int]
"""A tensor's name, and how many rows or elements it has."""

Role = Literal["projection", "vocabulary", "router"]
"""What a matrix is for, which decides whether it is quantized: an embedding or output matrix is one of the
vocabulary."""


class WeightReader(Protocol):
    """Gives a model its weights, each once.

    Attributes:
        weight_dtype: of matrices that are not quantized.
        activation_dtype: of vectors, and of what the model computes.
        num_parameters: of all that was given so far.
        nbytes: that it takes in memory.
    """

    weight_dtype: torch.dtype
    activation_dtype: torch.dtype
    num_parameters: int
    nbytes: int

    def matrix(self, parts: Sequence[Part], in_features: int, role: Role = "projection") -> PackedWeight:
        """The rows of all `parts`, each [rows, in_features], as one matrix."""
        ...

    def vector(self, parts: Sequence[Part], add: float = 0.0) -> Tensor:
        """The elements of all `parts`, and `add`, as [sum of their sizes] in `activation_dtype`."""
        ...
