"""The gated feed-forward layer."""

from __future__ import annotations

from torch import Tensor

from metavox.layers.linear import read_linear
from metavox.layers.reader import WeightReader
from metavox.models.config import DecoderConfig
from metavox_kernels import silu_and_mul


class FeedForward:
    """``down(silu(gate(x)) * up(x))`` (SwiGLU: Shazeer, 2020, arXiv:2002.05202)."""

    def __init__(self, config: DecoderConfig, reader: WeightReader, prefix: str) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        parts = {"gate_proj": inner, "up_proj": inner}
        self.gate_up_proj = read_linear(reader, prefix, parts, hidden, bias=config.mlp_bias)
        self.down_proj = read_linear(reader, prefix, {"down_proj": hidden}, inner, bias=config.mlp_bias)

    def __call__(self, x: Tensor) -> Tensor:
        """[num_tokens, hidden_size] to the same."""
        return self.down_proj(silu_and_mul(self.gate_up_proj(x)))
