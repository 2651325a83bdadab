"""Qwen3's dense models (Qwen3 Technical Report, 2025, arXiv:2505.09388): query and key are normalised."""

from dataclasses import replace

from metavox.models.config import DecoderConfig, RawConfig, read_decoder_config
from metavox.models.window import NAMES, qwen_layers


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Qwen3 config.json."""
    # Qwen3 keeps 128 dimensions a head where config.json is silent, whatever the hidden size is.
    config = read_decoder_config({"head_dim": 128, **raw}, "Qwen3ForCausalLM", understood=NAMES)
    return replace(config, qk_norm=True, layers=qwen_layers(raw, config))
