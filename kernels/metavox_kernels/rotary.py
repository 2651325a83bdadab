"""Rotary position embedding (Su et al., 2021, arXiv:2104.09864), in the half-split layout of the hub's files."""

import torch
from torch import Tensor


def rotary_naive(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (x[i], x[i + d/2]) of every head by its token's angle i.

    Args:
        x: [num_tokens, num_heads, d] with d even.
        cos: [num_tokens, d/2], the cosines of the angles, in the dtype of `x`.
        sin: [num_tokens, d/2], their sines.

    Returns:
        [num_tokens, num_heads, d] in the dtype of `x`.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
