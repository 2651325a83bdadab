"""Phi-3 and Phi-4-mini (Abdin et al., 2024, arXiv:2404.14219): fused projections, LongRoPE."""

from dataclasses import replace

from metavox.models.config import SLIDING, DecoderConfig, RawConfig, read_decoder_config
from metavox.models.values import positive
from metavox.models.window import windowed_layers


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Phi-3 config.json."""
    config = read_decoder_config(raw, "Phi3ForCausalLM", understood=("sliding_window",), partial_rotary=True)
    config = replace(config, fused=True)
    # Long-context checkpoints have a window that is longer than their context.
    if positive(raw, "sliding_window", config.max_position_embeddings) >= config.max_position_embeddings:
        return config
    return replace(config, layers=windowed_layers(raw, config, [SLIDING] * len(config.layers)))
