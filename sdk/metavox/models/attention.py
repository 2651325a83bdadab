"""Grouped-query self-attention over a paged KV cache."""

from __future__ import annotations

import torch
from torch import Tensor

from metavox.layers.linear import read_linear
from metavox.layers.reader import WeightReader
from metavox.models.config import DecoderConfig, LayerConfig
from metavox_kernels import LayerCache, PagedBatch, paged_attention, rotate_and_store


class Attention:
    """Self-attention of one layer.

    Attributes:
        rope: what the tables `cos` and `sin`, [max_position, rotary_dim / 2], are to be made from.
    """

    def __init__(self, config: DecoderConfig, layer: LayerConfig, reader: WeightReader, prefix: str) -> None:
        hidden, d = config.hidden_size, config.head_dim
        width, kv_width = config.num_attention_heads * d, config.num_key_value_heads * d
        parts = {"q_proj": width, "k_proj": kv_width, "v_proj": kv_width}
        parts = {"qkv_proj": width + 2 * kv_width} if config.fused else parts
        self.qkv_proj = read_linear(reader, prefix, parts, hidden, bias=config.attention_bias)
        self.o_proj = read_linear(reader, prefix, {"o_proj": hidden}, width, bias=config.output_bias)
        self.q_norm = self.k_norm = None
        if config.qk_norm:
            self.q_norm = reader.vector([(f"{prefix}q_norm.weight", d)], config.norm_offset)
            self.k_norm = reader.vector([(f"{prefix}k_norm.weight", d)], config.norm_offset)
        self.eps = config.rms_norm_eps
        self.scale = d**-0.5 if config.attention_scale is None else config.attention_scale
        self.window, self.softcap = layer.window, config.attention_softcap
        self.rope = layer.rope
        self.cos = self.sin = torch.empty(0)

    def __call__(self, x: Tensor, positions: Tensor, cache: LayerCache, batch: PagedBatch) -> Tensor:
        """[num_tokens, hidden_size] to the same. Writes the tokens' keys and values into the cache."""
        query = rotate_and_store(
            self.qkv_proj(x),
            positions,
            self.cos,
            self.sin,
            self.q_norm,
            self.k_norm,
            self.eps,
            cache,
            batch.slot_mapping,
        )
        return self.o_proj(paged_attention(query, cache, batch, self.scale, self.window, self.softcap))
