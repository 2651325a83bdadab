"""A matrix product with a loaded weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from metavox.layers.reader import WeightReader
from metavox_kernels import PackedWeight


@dataclass(frozen=True)
class Linear:
    """``x W^T + b``. `weight` is [out_features, in_features], `bias` [out_features] or None."""

    weight: PackedWeight
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """[num_tokens, in_features] to [num_tokens, out_features]."""
        return self.weight.linear(x, self.bias)


def read_linear(
    reader: WeightReader, prefix: str, out_features: Mapping[str, int], in_features: int, *, bias: bool = False
) -> Linear:
    """One product in the place of several of the same input.

    Args:
        reader: where the weights come from.
        prefix: what stands before the names, with its dot.
        out_features: of each projection, by its name; the output holds theirs in this order.
        in_features: of all of them.
        bias: whether they have biases.
    """
    weight = reader.matrix([(f"{prefix}{name}.weight", rows) for name, rows in out_features.items()], in_features)
    if not bias:
        return Linear(weight)
    return Linear(weight, reader.vector([(f"{prefix}{name}.bias", rows) for name, rows in out_features.items()]))
