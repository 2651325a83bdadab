"""Gemma 2 (2024, arXiv:2408.00118) and the text models of Gemma 3 (2025, arXiv:2503.19786)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metavox.errors import UnsupportedModel, shown
from metavox.models.config import FULL, SLIDING, DecoderConfig, LayerConfig, RawConfig, read_decoder_config
from metavox.models.rope import read_rope, refuse_contradiction, rope_settings
from metavox.models.values import optional_float, positive, positive_float, section
from metavox.models.window import windowed_layers

UNDERSTOOD = ("layer_types", "sliding_window", "hidden_act", "final_logit_softcapping")
ACTIVATION = "gelu_pytorch_tanh"


def read_gemma2(raw: RawConfig) -> DecoderConfig:
    """Read a Gemma 2 config.json: every other layer slides, scores and logits have caps."""
    raw = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, **raw}
    config = _read_common(raw, "Gemma2ForCausalLM", (*UNDERSTOOD, "attn_logit_softcapping"))
    layers = windowed_layers(raw, config, _kinds(len(config.layers), 2))
    return replace(config, layers=layers, attention_softcap=optional_float(raw, "attn_logit_softcapping"))


def read_gemma3(raw: RawConfig) -> DecoderConfig:
    """Read the config.json of a Gemma 3 text model: five of six layers slide, with frequencies of their own."""
    everywhere, sliding = _gemma3_ropes(raw)
    # Both spellings are read here, so that the common part finds none.
    plain = {**raw, "rope_parameters": None, "rope_scaling": None}
    config = _read_common(plain, "Gemma3ForCausalLM", UNDERSTOOD)
    d, context = config.head_dim, config.max_position_embeddings
    rope = read_rope(everywhere, d, context, theta=1_000_000.0)
    config = replace(config, qk_norm=True, layers=(LayerConfig(rope),) * len(config.layers))
    pattern = positive(raw, "sliding_window_pattern", positive(raw, "_sliding_window_pattern", 6))
    kinds = _kinds(len(config.layers), pattern)
    return replace(config, layers=windowed_layers(raw, config, kinds, read_rope(sliding, d, context)))


def _read_common(raw: RawConfig, architecture: str, understood: tuple[str, ...]) -> DecoderConfig:
    for name in ("hidden_activation", "hidden_act"):
        if raw.get(name) not in (None, ACTIVATION):
            raise UnsupportedModel(f"config.json: {name} = {shown(raw[name])} is not supported.")
    raw = {"head_dim": 256, "tie_word_embeddings": True, **raw}
    config = read_decoder_config(raw, architecture, understood=understood)
    return replace(
        config,
        hidden_act="gelu_tanh",
        norm_offset=1.0,
        sandwich_norms=True,
        embedding_scale=config.hidden_size**0.5,
        attention_scale=positive_float(raw, "query_pre_attn_scalar", 256.0) ** -0.5,
        final_softcap=optional_float(raw, "final_logit_softcapping"),
    )


def _kinds(count: int, pattern: int) -> list[str]:
    """Every `pattern`-th layer sees everything."""
    return [SLIDING if (i + 1) % pattern else FULL for i in range(count)]


def _gemma3_ropes(raw: RawConfig) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The rotary settings of the layers that see everything, and of those that slide."""
    nested = section(raw, "rope_parameters")
    if any(isinstance(value, Mapping) for value in nested.values()):
        refuse_contradiction(raw, section(nested, FULL))
        return section(nested, FULL), section(nested, SLIDING)
    return rope_settings(raw), {"rope_theta": raw.get("rope_local_base_freq")}
