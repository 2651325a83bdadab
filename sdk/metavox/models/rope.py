"""Reads the rotary settings of config.json, in both of their spellings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from metavox.errors import InvalidCheckpoint, UnsupportedModel, shown
from metavox.layers.rotary import LinearScaling, Llama3Scaling, LongRopeScaling, Rope, Scaling, YarnScaling
from metavox.models.values import (
    RawConfig,
    flag,
    optional_float,
    positive,
    positive_float,
    positive_floats,
    section,
)


def rope_settings(raw: RawConfig) -> dict[str, Any]:
    """`rope_theta` with `rope_scaling`, or transformers 5's `rope_parameters`, as one object.

    Raises:
        UnsupportedModel: there are several, one for each kind of layer.
        InvalidCheckpoint: the two spellings say different things.
    """
    settings = {"rope_theta": raw.get("rope_theta"), **section(raw, "rope_scaling")}
    settings.update(section(raw, "rope_parameters"))
    refuse_contradiction(raw, settings)
    if any(isinstance(value, Mapping) for value in settings.values()):
        raise UnsupportedModel("config.json: rope_parameters that differ between layers are not supported.")
    for name in ("original_max_position_embeddings", "partial_rotary_factor"):
        if raw.get(name) is not None:
            settings[name] = raw[name]
    return settings


def refuse_contradiction(raw: RawConfig, settings: RawConfig) -> None:
    """Raise InvalidCheckpoint where `rope_scaling` says otherwise than the `settings` that are used.

    Who stretches a context by hand, as model cards tell, may write it into a file of the other spelling.
    """
    for name, value in section(raw, "rope_scaling").items():
        used = settings.get("rope_type", settings.get("type")) if name == "type" else settings.get(name)
        if used != value:
            raise InvalidCheckpoint(
                f"config.json: rope_scaling says {name} = {shown(value)}, and rope_parameters {shown(used)}; write "
                "what is meant into rope_parameters, and leave rope_scaling out."
            )


def read_rope(
    settings: RawConfig, head_dim: int, context: int, *, theta: float = 10_000.0, partial: bool = False
) -> Rope:
    """The rotary embedding that the settings ask for.

    Args:
        settings: what `rope_settings` gave, or the part of it for one kind of layer.
        head_dim: the dimensions of a head.
        context: the model's max_position_embeddings.
        theta: where the settings are silent.
        partial: whether the family can rotate a part of each head.

    Raises:
        UnsupportedModel: there is no such way to stretch, or no such part of a head.
        InvalidCheckpoint: a value is missing or impossible.
    """
    kind = settings.get("rope_type", settings.get("type", "default"))
    part = positive_float(settings, "partial_rotary_factor", 1.0)
    if part != 1 and not partial:
        raise UnsupportedModel("config.json: partial_rotary_factor is not supported.")
    rotary_dim = int(head_dim * part)
    if rotary_dim < 2 or rotary_dim % 2 or part > 1:
        raise InvalidCheckpoint(
            f"config.json: partial_rotary_factor {part} is no even part of {head_dim} dimensions."
        )
    if not isinstance(kind, str) or kind not in _SCALINGS:
        known = ", ".join(sorted(set(_SCALINGS) - {"su"}))
        raise UnsupportedModel(f"config.json: rope type {shown(kind)} is not supported; these are: {known}.")
    scaling = _SCALINGS[kind](settings, rotary_dim, context)
    rope_theta = positive_float(settings, "rope_theta", theta)
    if isinstance(scaling, YarnScaling) and rope_theta <= 1:
        raise InvalidCheckpoint(f"config.json: rope_theta must be more than 1 for yarn, and is {rope_theta}.")
    return Rope(rope_theta, scaling, None if rotary_dim == head_dim else rotary_dim)


def _no_scaling(settings: RawConfig, rotary_dim: int, context: int) -> None:
    return None


def _linear(settings: RawConfig, rotary_dim: int, context: int) -> LinearScaling:
    return LinearScaling(positive_float(settings, "factor"))


def _llama3(settings: RawConfig, rotary_dim: int, context: int) -> Llama3Scaling:
    scaling = Llama3Scaling(
        factor=positive_float(settings, "factor"),
        low_freq_factor=positive_float(settings, "low_freq_factor"),
        high_freq_factor=positive_float(settings, "high_freq_factor"),
        original_max_position_embeddings=positive(settings, "original_max_position_embeddings", context),
    )
    if scaling.high_freq_factor <= scaling.low_freq_factor:
        raise InvalidCheckpoint("config.json: high_freq_factor must be larger than low_freq_factor.")
    return scaling


def _yarn(settings: RawConfig, rotary_dim: int, context: int) -> YarnScaling:
    original = positive(settings, "original_max_position_embeddings", context)
    factor = positive_float(settings, "factor", context / original)
    one, all_dim = optional_float(settings, "mscale"), optional_float(settings, "mscale_all_dim")
    default = _yarn_scale(factor, 1.0)
    if one and all_dim:
        default = _yarn_scale(factor, one) / _yarn_scale(factor, all_dim)
    return YarnScaling(
        factor=factor,
        original_max_position_embeddings=original,
        attention_factor=positive_float(settings, "attention_factor", default),
        beta_fast=positive_float(settings, "beta_fast", 32.0),
        beta_slow=positive_float(settings, "beta_slow", 1.0),
        truncate=flag(settings, "truncate", default=True),
    )


def _yarn_scale(factor: float, mscale: float) -> float:
    """The paper's 0.1 ln(s) + 1, which makes up for the flatter softmax over a longer context."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _longrope(settings: RawConfig, rotary_dim: int, context: int) -> LongRopeScaling:
    original = positive(settings, "original_max_position_embeddings", context)
    factor = positive_float(settings, "factor", context / original)
    default = 1.0 if factor <= 1 or original == 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    return LongRopeScaling(
        short_factor=positive_floats(settings, "short_factor", rotary_dim // 2),
        long_factor=positive_floats(settings, "long_factor", rotary_dim // 2),
        original_max_position_embeddings=original,
        attention_factor=positive_float(settings, "attention_factor", default),
    )


_SCALINGS: dict[str, Callable[[RawConfig, int, int], Scaling | None]] = {
    "default": _no_scaling,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,  # its name before the paper was published
}
