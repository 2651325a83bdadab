"""Mistral's dense models (Jiang et al., 2023, arXiv:2310.06825): the first ones have a window in every layer."""

from dataclasses import replace

from metavox.models.config import SLIDING, DecoderConfig, RawConfig, read_decoder_config
from metavox.models.window import windowed_layers


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Mistral config.json."""
    config = read_decoder_config(raw, "MistralForCausalLM", understood=("sliding_window",))
    if raw.get("sliding_window") is None:
        return config
    return replace(config, layers=windowed_layers(raw, config, [SLIDING] * len(config.layers)))
