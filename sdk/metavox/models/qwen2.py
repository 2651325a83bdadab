"""Qwen2 and Qwen2.5 (Qwen2.5 Technical Report, 2024, arXiv:2412.15115): biases on query, key and value alone."""

from dataclasses import replace

from metavox.models.config import DecoderConfig, RawConfig, read_decoder_config
from metavox.models.window import NAMES, qwen_layers


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Qwen2 config.json."""
    config = read_decoder_config(raw, "Qwen2ForCausalLM", understood=NAMES)
    layers = qwen_layers(raw, config)
    return replace(config, attention_bias=True, output_bias=False, layers=layers)
