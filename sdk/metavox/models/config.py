"""A decoder's shape, read from a checkpoint's config.json. What we do not do is refused here, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metavox.errors import InvalidCheckpoint, UnsupportedModel, shown
from metavox.layers.rotary import Llama3Scaling, Rope
from metavox.params import LARGEST, as_float, as_int

RawConfig = Mapping[str, Any]
MOST_LAYERS = 10_000  # one that is built, even without weights, takes a millisecond


@dataclass(frozen=True)
class LayerConfig:
    """What may differ from layer to layer."""

    rope: Rope


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder-only transformer; the names are those of config.json where it has them.

    Attributes:
        attention_bias: on the projections of query, key and value.
        output_bias: on the projection of what attention gives.
        layers: one for each layer.
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

    @property
    def num_hidden_layers(self) -> int:
        """How many there are."""
        return len(self.layers)


def read_decoder_config(raw: RawConfig, architecture: str, *, qk_norm: bool) -> DecoderConfig:
    """The common part of every family.

    Raises:
        UnsupportedModel: config.json asks for a feature the decoder does not have.
        InvalidCheckpoint: a value is missing, of the wrong type or impossible.
    """
    _refuse_unsupported(raw)
    heads = positive(raw, "num_attention_heads")
    hidden = positive(raw, "hidden_size")
    kv_heads = positive(raw, "num_key_value_heads", heads)
    head_dim = positive(raw, "head_dim", hidden // heads)
    if heads % kv_heads or head_dim % 2:
        raise InvalidCheckpoint(
            f"config.json: num_key_value_heads ({kv_heads}) must divide num_attention_heads ({heads}), "
            f"and head_dim ({head_dim}) must be even."
        )
    return DecoderConfig(
        architecture=architecture,
        vocab_size=positive(raw, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=positive(raw, "intermediate_size"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=positive(raw, "max_position_embeddings"),
        rms_norm_eps=_positive_float(raw, "rms_norm_eps", 1e-6),
        tie_word_embeddings=_flag(raw, "tie_word_embeddings"),
        attention_bias=_flag(raw, "attention_bias"),
        mlp_bias=_flag(raw, "mlp_bias"),
        output_bias=_flag(raw, "attention_bias"),
        qk_norm=qk_norm,
        layers=(LayerConfig(_read_rope(raw)),) * positive(raw, "num_hidden_layers", most=MOST_LAYERS),
    )


def positive(raw: RawConfig, name: str, default: int | None = None, most: int = LARGEST) -> int:
    """The positive integer `name` of config.json; missing or null gives the default, or an error."""
    value = raw.get(name)
    value = default if value is None else value
    number = as_int(value)
    if number is None or number < 1:
        raise InvalidCheckpoint(f"config.json: {name} must be a positive integer, and is {shown(value)}.")
    if number > most:
        raise InvalidCheckpoint(f"config.json: {name} is {shown(number)}, and can be at most {most}.")
    return number


def _positive_float(raw: RawConfig, name: str, default: float | None = None) -> float:
    value = raw.get(name)
    value = default if value is None else value
    number = as_float(value)
    if number is None or number <= 0:
        raise InvalidCheckpoint(f"config.json: {name} must be a positive number, and is {shown(value)}.")
    return number


def _flag(raw: RawConfig, name: str) -> bool:
    value = raw.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidCheckpoint(f"config.json: {name} must be true or false, and is {shown(value)}.")
    return bool(value)


def _refuse_unsupported(raw: RawConfig) -> None:
    """Names that change what a decoder computes, each with the values under which it does not."""
    neutral: dict[str, tuple[object, ...]] = {
        "quantization_config": (None,),
        "compression_config": (None,),
        "hidden_act": ("silu",),
        "use_sliding_window": (False,),
        "pretraining_tp": (1, None),
        "partial_rotary_factor": (1, None),
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
    }
    layers = raw.get("layer_types")
    if layers and (not isinstance(layers, list) or any(kind != "full_attention" for kind in layers)):
        raise UnsupportedModel(f"config.json: layer_types = {shown(layers)} is not supported.")
    for name, values in neutral.items():
        if name in raw and raw[name] not in values:
            raise UnsupportedModel(f"config.json: {name} = {shown(raw[name])} is not supported.")


def _read_rope(raw: RawConfig) -> Rope:
    """Both spellings: `rope_theta` with `rope_scaling`, and transformers 5's `rope_parameters`."""
    settings = {"rope_theta": raw.get("rope_theta"), **_section(raw, "rope_scaling")}
    settings.update(_section(raw, "rope_parameters"))
    if any(isinstance(value, Mapping) for value in settings.values()):
        raise UnsupportedModel("config.json: rope_parameters that differ between layers are not supported.")
    kind = settings.get("rope_type", settings.get("type", "default"))
    if settings.get("partial_rotary_factor") not in (None, 1):
        raise UnsupportedModel("config.json: partial_rotary_factor is not supported.")
    theta = _positive_float(settings, "rope_theta", 10_000.0)
    if kind == "default":
        return Rope(theta)
    if kind != "llama3":
        raise UnsupportedModel(f"config.json: rope type {shown(kind)} is not supported; default and llama3 are.")
    scaling = Llama3Scaling(
        factor=_positive_float(settings, "factor"),
        low_freq_factor=_positive_float(settings, "low_freq_factor"),
        high_freq_factor=_positive_float(settings, "high_freq_factor"),
        original_max_position_embeddings=positive(
            settings, "original_max_position_embeddings", raw.get("max_position_embeddings")
        ),
    )
    if scaling.high_freq_factor <= scaling.low_freq_factor:
        raise InvalidCheckpoint("config.json: high_freq_factor must be larger than low_freq_factor.")
    return Rope(theta, scaling)


def _section(raw: RawConfig, name: str) -> Mapping[str, Any]:
    section = raw.get(name) or {}
    if not isinstance(section, Mapping):
        raise InvalidCheckpoint(f"config.json: {name} must be an object, and is {shown(section)}.")
    return section
