"""Qwen3's dense models (Qwen3 Technical Report, 2025, arXiv:2505.09388): query and key are normalised."""

from metavox.errors import UnsupportedModel
from metavox.models.config import DecoderConfig, RawConfig, read_decoder_config


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Qwen3 config.json. Raises UnsupportedModel where sliding-window attention is in use."""
    if raw.get("use_sliding_window"):
        raise UnsupportedModel("config.json: use_sliding_window = True is not supported.")
    # Qwen3 keeps 128 dimensions a head where config.json is silent, whatever the hidden size is.
    return read_decoder_config({"head_dim": 128, **raw}, "Qwen3ForCausalLM", qk_norm=True)
