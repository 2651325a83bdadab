"""A decoder's shape, read from a checkpoint's config.json. What we do not do is refused here, by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from metavox.errors import InvalidCheckpoint, UnsupportedModel, shown
from metavox.layers.rotary import Rope, YarnScaling
from metavox.models.rope import read_rope, rope_settings
from metavox.models.values import RawConfig, flag, positive, positive_float

__all__ = ["DecoderConfig", "ExpertsConfig", "LayerConfig", "RawConfig", "layer_kinds", "read_decoder_config"]

MOST_LAYERS = 10_000  # one that is built, even without weights, takes a millisecond
FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class LayerConfig:
    """What may differ from layer to layer.

    Attributes:
        rope: the rotary embedding.
        window: a token sees itself and the window - 1 before it; None for all.
        sparse: whether its feed-forward part is a mixture of experts.
    """

    rope: Rope
    window: int | None = None
    sparse: bool = False


@dataclass(frozen=True)
class ExpertsConfig:
    """The mixture of experts of the sparse layers.

    Attributes:
        num_experts: of a layer.
        num_experts_per_tok: of which a token takes so many.
        intermediate_size: of one expert.
        norm_topk_prob: whether the weights of those a token takes are scaled to a sum of 1.
    """

    num_experts: int
    num_experts_per_tok: int
    intermediate_size: int
    norm_topk_prob: bool


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder-only transformer; the names are those of config.json where it has them.

    Attributes:
        attention_bias: on the projections of query, key and value.
        layers: one for each layer.
        output_bias: on the projection of what attention gives.
        fused: whether files hold qkv_proj and gate_up_proj instead of their parts.
        hidden_act: of the gates.
        norm_offset: what is added to the weights of norms.
        sandwich_norms: whether what a sublayer gives is normalised before it is added to the residual stream.
        embedding_scale: what embeddings are multiplied by.
        attention_scale: of the scores; None for head_dim ** -0.5.
        attention_softcap, final_softcap: on scores and logits; None for none.
        experts: of the sparse layers.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    attention_bias: bool
    mlp_bias: bool
    qk_norm: bool
    layers: tuple[LayerConfig, ...]
    output_bias: bool = False
    fused: bool = False
    hidden_act: Literal["silu", "gelu_tanh"] = "silu"
    norm_offset: float = 0.0
    sandwich_norms: bool = False
    embedding_scale: float = 1.0
    attention_scale: float | None = None
    attention_softcap: float | None = None
    final_softcap: float | None = None
    experts: ExpertsConfig | None = None

    @property
    def num_hidden_layers(self) -> int:
        """How many there are."""
        return len(self.layers)


# Names that change what a decoder computes, each with the values under which it does not.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "quantization_config": (None,),
    "compression_config": (None,),
    "hidden_act": ("silu",),
    "use_sliding_window": (False, None),
    "sliding_window": (False, None, 0),
    "pretraining_tp": (1, None),
    "num_experts": (None, 0),
    "num_local_experts": (None, 0),
    "is_encoder_decoder": (False,),
    "final_logit_softcapping": (None,),
    "attn_logit_softcapping": (None,),
    "logit_scale": (None, 1),
    "logits_scaling": (None, 1),
    "residual_multiplier": (None, 1),
    "embedding_multiplier": (None, 1),
    "attention_multiplier": (None,),
    "rope_interleaved": (None, False),
    "use_bidirectional_attention": (None, False),
    "use_mrope": (None, False),
}


def read_decoder_config(
    raw: RawConfig, architecture: str, *, understood: Collection[str] = (), partial_rotary: bool = False
) -> DecoderConfig:
    """What the families have in common; each layer sees all tokens. A family replaces what it does otherwise.

    Args:
        raw: config.json.
        architecture: its name.
        understood: the names among `NEUTRAL`, and "layer_types", that the family reads itself.
        partial_rotary: whether the family can rotate a part of each head.

    Raises:
        UnsupportedModel: config.json asks for a feature the decoder does not have.
        InvalidCheckpoint: a value is missing, of the wrong type or impossible.
    """
    _refuse_unsupported(raw, understood)
    heads = positive(raw, "num_attention_heads")
    hidden = positive(raw, "hidden_size")
    kv_heads = positive(raw, "num_key_value_heads", heads)
    head_dim = positive(raw, "head_dim", hidden // heads)
    if heads % kv_heads or head_dim % 2:
        raise InvalidCheckpoint(
            f"config.json: num_key_value_heads ({kv_heads}) must divide num_attention_heads ({heads}), "
            f"and head_dim ({head_dim}) must be even."
        )
    context = positive(raw, "max_position_embeddings")
    rope = read_rope(rope_settings(raw), head_dim, context, partial=partial_rotary)
    if isinstance(rope.scaling, YarnScaling):  # files that were made to stretch often keep the old context
        context = max(context, int(rope.scaling.factor * rope.scaling.original_max_position_embeddings))
    return DecoderConfig(
        architecture=architecture,
        vocab_size=positive(raw, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=positive(raw, "intermediate_size"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=context,
        rms_norm_eps=positive_float(raw, "rms_norm_eps", 1e-6),
        tie_word_embeddings=flag(raw, "tie_word_embeddings"),
        attention_bias=flag(raw, "attention_bias"),
        output_bias=flag(raw, "attention_bias"),
        mlp_bias=flag(raw, "mlp_bias"),
        qk_norm=False,
        layers=(LayerConfig(rope),) * positive(raw, "num_hidden_layers", most=MOST_LAYERS),
    )


def _refuse_unsupported(raw: RawConfig, understood: Collection[str]) -> None:
    if "layer_types" not in understood and set(layer_kinds(raw, [FULL])) != {FULL}:
        raise UnsupportedModel(f"config.json: layer_types = {shown(raw['layer_types'])} is not supported.")
    for name, values in NEUTRAL.items():
        if name in raw and name not in understood and raw[name] not in values:
            raise UnsupportedModel(f"config.json: {name} = {shown(raw[name])} is not supported.")


def layer_kinds(raw: RawConfig, default: list[str]) -> list[str]:
    """`layer_types`, each `FULL` or `SLIDING`; missing or empty gives the default."""
    kinds = raw.get("layer_types") or default
    if not isinstance(kinds, list) or any(kind not in (FULL, SLIDING) for kind in kinds):
        raise UnsupportedModel(f"config.json: layer_types = {shown(kinds)} is not supported.")
    return kinds
