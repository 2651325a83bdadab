"""The gates of a gated feed-forward layer (Shazeer, 2020, arXiv:2002.05202)."""

import torch
from torch import Tensor


def silu_and_mul_naive(gate_up: Tensor) -> Tensor:
    """``silu(gate) * up``.

    Args:
        gate_up: [num_tokens, 2 * d], the gates, then what they are multiplied with.

    Returns:
        [num_tokens, d] in the same dtype.
    """
    gate, up = gate_up.chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up


def gelu_tanh_and_mul_naive(gate_up: Tensor) -> Tensor:
    """``gelu(gate) * up`` with the tanh approximation (Hendrycks and Gimpel, 2016, arXiv:1606.08415); see
    `silu_and_mul_naive`."""
    gate, up = gate_up.chunk(2, dim=-1)
    return torch.nn.functional.gelu(gate, approximate="tanh") * up
