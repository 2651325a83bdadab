"""The decoder-only transformer that every family is a setting of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metavox.layers.attention import Attention
from metavox.layers.embedding import Embedding
from metavox.layers.linear import Linear
from metavox.layers.norm import RMSNorm
from metavox.layers.rotary import rotary_table
from metavox.models.config import DecoderConfig
from metavox_kernels import PagedBatch, silu_and_mul


class FeedForward(nn.Module):
    """The gated feed-forward layer (SwiGLU)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = Linear(hidden, inner, config.mlp_bias)
        self.up_proj = Linear(hidden, inner, config.mlp_bias)
        self.down_proj = Linear(inner, hidden, config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """[num_tokens, hidden_size] to the same."""
        return self.down_proj(silu_and_mul(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Attention, then feed-forward, each normalised before and added to the residual stream after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            bias=config.attention_bias,
            qk_norm=config.qk_norm,
            norm_eps=config.rms_norm_eps,
        )
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, key_cache: Tensor, value_cache: Tensor, batch: PagedBatch
    ) -> Tensor:
        """[num_tokens, hidden_size] to the same; the arguments are those of `Attention.forward`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, key_cache, value_cache, batch)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class DecoderStack(nn.Module):
    """Embedding, layers and last norm: what checkpoints keep under ``model.``"""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Decoder(nn.Module):
    """A causal language model. Build it on the meta device; the loader fills its parameters."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = DecoderStack(config)
        # A tied model has no lm_head parameter: its output matrix is the embedding table.
        self.lm_head = None if config.tie_word_embeddings else Linear(config.hidden_size, config.vocab_size)
        self.cos = self.sin = torch.empty(0)

    def prepare(self, length: int, dtype: torch.dtype, device: torch.device) -> None:
        """Compute the rotary table for positions below `length`."""
        cos, sin = rotary_table(self.config.rope, self.config.head_dim, length, dtype)
        self.cos, self.sin = cos.to(device), sin.to(device)

    def forward(self, ids: Tensor, positions: Tensor, kv_cache: Tensor, batch: PagedBatch) -> Tensor:
        """The hidden states of a flat batch of tokens; their keys and values are written to the cache.

        Args:
            ids: [num_tokens] int64.
            positions: [num_tokens] int64, each below the length given to `prepare`.
            kv_cache: [num_layers, 2, num_blocks, block_size, num_kv_heads, head_dim].
            batch: where the tokens lie.

        Returns:
            [num_tokens, hidden_size], normalised, in the dtype of the weights.
        """
        x = self.model.embed_tokens(ids)
        cos, sin = self.cos[positions], self.sin[positions]
        for layer, cache in zip(self.model.layers, kv_cache, strict=True):
            x = layer(x, cos, sin, cache[0], cache[1], batch)
        return self.model.norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden_size] to [n, vocab_size], in the dtype of the weights."""
        head = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return nn.functional.linear(hidden, head)
