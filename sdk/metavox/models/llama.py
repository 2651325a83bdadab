"""The Llama family, 1 to 3.x (Grattafiori et al., 2024, arXiv:2407.21783), and models that share its code."""

from metavox.models.config import DecoderConfig, RawConfig, read_decoder_config


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Llama config.json. Raises UnsupportedModel where sliding-window attention is in use."""
    return read_decoder_config(raw, "LlamaForCausalLM")
