"""A matrix product with a loaded weight."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """``y = x W^T + b``. `weight` is [out_features, in_features], `bias` [out_features] or None."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out_features), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] to [..., out_features]."""
        return nn.functional.linear(x, self.weight, self.bias)
