"""The gate of a SwiGLU feed-forward layer (Shazeer, 2020, arXiv:2002.05202)."""

import torch
from torch import Tensor


def silu_and_mul_naive(gate: Tensor, up: Tensor) -> Tensor:
    """``silu(gate) * up``, element by element.

    Args:
        gate: [..., d].
        up: [..., d], the dtype of `gate`.

    Returns:
        [..., d] in the same dtype.
    """
    return torch.nn.functional.silu(gate) * up
