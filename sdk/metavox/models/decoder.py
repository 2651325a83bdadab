"""The decoder-only transformer that every family is a setting of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metavox.layers.reader import WeightReader
from metavox.layers.rotary import rotary_table
from metavox.models.attention import Attention
from metavox.models.config import DecoderConfig, LayerConfig
from metavox.models.feed_forward import FeedForward, MixtureOfExperts
from metavox_kernels import LayerCache, PagedBatch, add_rms_norm, rms_norm


class DecoderLayer:
    """Attention, then feed-forward, each added to the residual stream and normalised for what comes next.

    With sandwich norms, what each of them gives is also normalised before it is added.
    """

    def __init__(
        self, config: DecoderConfig, layer: LayerConfig, reader: WeightReader, prefix: str, next_norm: Tensor
    ) -> None:
        self.self_attn = Attention(config, layer, reader, f"{prefix}self_attn.")
        self.mlp = _feed_forward(config, layer, reader, f"{prefix}mlp.")
        self.attn_out_norm: Tensor | None = None
        self.mlp_out_norm: Tensor | None = None
        if config.sandwich_norms:
            self.attn_out_norm = _norm(config, reader, f"{prefix}post_attention_layernorm")
            self.mlp_out_norm = _norm(config, reader, f"{prefix}post_feedforward_layernorm")
        name = "pre_feedforward_layernorm" if config.sandwich_norms else "post_attention_layernorm"
        self.mlp_norm, self.next_norm = _norm(config, reader, prefix + name), next_norm
        self.eps = config.rms_norm_eps

    def __call__(
        self, x: Tensor, residual: Tensor, positions: Tensor, cache: LayerCache, batch: PagedBatch
    ) -> Tensor:
        """The normalised input of the layer to that of the next one; `residual` is changed.

        Both are [num_tokens, hidden_size]; the other arguments are those of `Decoder.forward`.
        """
        x = self.self_attn(x, positions, cache, batch)
        if self.attn_out_norm is not None:
            x = rms_norm(x, self.attn_out_norm, self.eps)
        x = self.mlp(add_rms_norm(x, residual, self.mlp_norm, self.eps))
        if self.mlp_out_norm is not None:
            x = rms_norm(x, self.mlp_out_norm, self.eps)
        return add_rms_norm(x, residual, self.next_norm, self.eps)


def _feed_forward(
    config: DecoderConfig, layer: LayerConfig, reader: WeightReader, prefix: str
) -> FeedForward | MixtureOfExperts:
    if layer.sparse and config.experts is not None:
        return MixtureOfExperts(config, config.experts, reader, prefix)
    return FeedForward(config, config.intermediate_size, reader, prefix)


def _norm(config: DecoderConfig, reader: WeightReader, name: str) -> Tensor:
    return reader.vector([(f"{name}.weight", config.hidden_size)], config.norm_offset)


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
        self.embed_tokens = reader.matrix([("model.embed_tokens.weight", vocab)], hidden, "vocabulary")
        self.lm_head = self.embed_tokens
        if not config.tie_word_embeddings:
            self.lm_head = reader.matrix([("lm_head.weight", vocab)], hidden, "vocabulary")
        # Gemma was trained with the scale rounded as its weights are: 55.4256 became 55.5.
        self.embedding_scale = torch.tensor(config.embedding_scale, dtype=reader.weight_dtype).item()
        names = [f"model.layers.{i}." for i in range(config.num_hidden_layers)]
        norms = [_norm(config, reader, f"{name}input_layernorm") for name in names]
        norms.append(_norm(config, reader, "model.norm"))
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
        if self.embedding_scale != 1:
            residual *= self.embedding_scale
        x = rms_norm(residual, self.first_norm, self.config.rms_norm_eps)
        for layer, cache in zip(self.layers, kv, strict=True):
            x = layer(x, residual, positions, cache, batch)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden_size] to [n, vocab_size] float32."""
        logits, cap = self.lm_head.linear(hidden).float(), self.config.final_softcap
        return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)
