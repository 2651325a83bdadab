"""The decoder-only transformer that every family is a setting of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metavox.layers.reader import WeightReader
from metavox.layers.rotary import rotary_table
from metavox.models.attention import Attention
from metavox.models.config import DecoderConfig, LayerConfig
from metavox.models.feed_forward import FeedForward
from metavox_kernels import LayerCache, PagedBatch, add_rms_norm, rms_norm


class DecoderLayer:
    """Attention, then feed-forward, each added to the residual stream and normalised for what comes next."""

    def __init__(
        self, config: DecoderConfig, layer: LayerConfig, reader: WeightReader, prefix: str, next_norm: Tensor
    ) -> None:
        self.self_attn = Attention(config, layer, reader, f"{prefix}self_attn.")
        self.mlp = FeedForward(config, reader, f"{prefix}mlp.")
        self.mlp_norm = reader.vector([(f"{prefix}post_attention_layernorm.weight", config.hidden_size)])
        self.next_norm = next_norm
        self.eps = config.rms_norm_eps

    def __call__(
        self, x: Tensor, residual: Tensor, positions: Tensor, cache: LayerCache, batch: PagedBatch
    ) -> Tensor:
        """The normalised input of the layer to that of the next one; `residual` is changed.

        Both are [num_tokens, hidden_size]; the other arguments are those of `Decoder.forward`.
        """
        x = add_rms_norm(self.self_attn(x, positions, cache, batch), residual, self.mlp_norm, self.eps)
        return add_rms_norm(self.mlp(x), residual, self.next_norm, self.eps)


class Decoder:
    """A causal language model with its weights.

    Attributes:
        activation_dtype: of hidden states.
        num_parameters: of all weights; a tied matrix counts once.
        nbytes: that the weights take.
    """

    def __init__(self, config: DecoderConfig, reader: WeightReader) -> None:
        hidden, vocab = config.hidden_size, config.vocab_size
        self.config = config
        self.activation_dtype = reader.activation_dtype
        # The largest tensors come first, when the least memory is taken: each is there twice while it is packed.
        self.embed_tokens = reader.table(("model.embed_tokens.weight", vocab), hidden)
        tied = config.tie_word_embeddings
        self.lm_head = self.embed_tokens if tied else reader.table(("lm_head.weight", vocab), hidden)
        names = [f"model.layers.{i}." for i in range(config.num_hidden_layers)]
        norms = [reader.vector([(f"{name}input_layernorm.weight", hidden)]) for name in names]
        norms.append(reader.vector([("model.norm.weight", hidden)]))
        self.first_norm = norms[0]
        self.layers = [
            DecoderLayer(config, layer, reader, name, norm)
            for layer, name, norm in zip(config.layers, names, norms[1:], strict=True)
        ]
        self.num_parameters, self.nbytes = reader.num_parameters, reader.nbytes

    def prepare(self, length: int, device: torch.device) -> None:
        """Compute the rotary tables for positions below `length`."""
        tables = {}
        for rope in {layer.rope for layer in self.config.layers}:
            cos, sin = rotary_table(rope, self.config.head_dim, length, self.activation_dtype)
            tables[rope] = cos.to(device), sin.to(device)
        for layer in self.layers:
            layer.self_attn.cos, layer.self_attn.sin = tables[layer.self_attn.rope]

    def forward(self, ids: Tensor, positions: Tensor, kv: Sequence[LayerCache], batch: PagedBatch) -> Tensor:
        """The hidden states of a flat batch of tokens; their keys and values are written to the caches.

        Args:
            ids: [num_tokens] int64.
            positions: [num_tokens] int64, each below the length given to `prepare`.
            kv: the cache of each layer.
            batch: where the tokens lie.

        Returns:
            [num_tokens, hidden_size], normalised, in `activation_dtype`.
        """
        residual = self.embed_tokens.rows(ids, self.activation_dtype)
        x = rms_norm(residual, self.first_norm, self.config.rms_norm_eps)
        for layer, cache in zip(self.layers, kv, strict=True):
            x = layer(x, residual, positions, cache, batch)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden_size] to [n, vocab_size] float32."""
        return self.lm_head.linear(hidden).float()
