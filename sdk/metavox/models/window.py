"""Sliding-window attention: which layers have it, and how far they see."""

from __future__ import annotations

from dataclasses import replace

from metavox.errors import InvalidCheckpoint, UnsupportedModel, shown
from metavox.layers.rotary import Rope
from metavox.models.config import FULL, SLIDING, DecoderConfig, LayerConfig, layer_kinds
from metavox.models.values import RawConfig, positive

NAMES = ("layer_types", "sliding_window", "use_sliding_window")


def windowed_layers(
    raw: RawConfig, config: DecoderConfig, default: list[str], sliding_rope: Rope | None = None
) -> tuple[LayerConfig, ...]:
    """The layers of `config`, those that slide with config.json's `sliding_window`.

    Args:
        raw: config.json.
        config: what was read so far.
        default: the kind of each layer where `layer_types` is silent.
        sliding_rope: of those that slide, where it is one of their own.

    Raises:
        InvalidCheckpoint: there are not as many kinds as layers, or a layer slides and there is no window.
    """
    kinds = layer_kinds(raw, default)
    if len(kinds) != len(config.layers):
        raise InvalidCheckpoint(
            f"config.json: layer_types names {len(kinds)} layers, and num_hidden_layers is {len(config.layers)}."
        )
    if SLIDING not in kinds:
        return config.layers
    window = positive(raw, "sliding_window")
    return tuple(
        replace(layer, window=window, rope=sliding_rope or layer.rope) if kind == SLIDING else layer
        for layer, kind in zip(config.layers, kinds, strict=True)
    )


def qwen_layers(raw: RawConfig, config: DecoderConfig) -> tuple[LayerConfig, ...]:
    """With `use_sliding_window`, the layers from `max_window_layers` on slide, or those that `layer_types` names.

    Raises:
        UnsupportedModel: `layer_types` names layers that slide, and `use_sliding_window` does not say so.
    """
    count = len(config.layers)
    if not raw.get("use_sliding_window") or raw.get("sliding_window") is None:
        if SLIDING in layer_kinds(raw, [FULL]):
            raise UnsupportedModel(
                f"config.json: layer_types = {shown(raw['layer_types'])} is not supported "
                "without use_sliding_window and sliding_window."
            )
        return config.layers
    first = positive(raw, "max_window_layers", 28) if raw.get("max_window_layers") != 0 else 0
    return windowed_layers(raw, config, [SLIDING if i >= first else FULL for i in range(count)])
