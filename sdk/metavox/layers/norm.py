"""Root-mean-square normalisation with a loaded weight."""

import torch
from torch import Tensor, nn

from metavox_kernels import rms_norm


class RMSNorm(nn.Module):
    """Normalises the last dimension; `weight` is [size]."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] to [..., size], same dtype."""
        return rms_norm(x, self.weight, self.eps)
