"""Root-mean-square normalisation (Zhang and Sennrich, 2019, arXiv:1910.07467)."""

import torch
from torch import Tensor


def rms_norm_naive(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Scale the last dimension of `x` to unit root mean square, then by `weight`.

    Args:
        x: [..., d], any floating dtype.
        weight: [d], the dtype of `x`.
        eps: added to the mean square, before the root.

    Returns:
        [..., d] in the dtype of `x`. The mean is taken in float32.
    """
    x32 = x.to(torch.float32)
    scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + eps)
    return weight * (x32 * scale).to(x.dtype)


def add_rms_norm_naive(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Add `x` to `residual` in place, and normalise the sum.

    Args:
        x: [num_tokens, d].
        residual: [num_tokens, d], the residual stream; it is changed.
        weight, eps: as in `rms_norm_naive`.

    Returns:
        [num_tokens, d], the norm of the new `residual`.
    """
    return rms_norm_naive(residual.add_(x), weight, eps)
