"""From the name of an architecture to the function that reads its config.json."""

from __future__ import annotations

from collections.abc import Callable

from metavox.errors import InvalidCheckpoint, UnsupportedModel
from metavox.models import gemma, llama, mistral, phi3, qwen2, qwen3, qwen3_moe
from metavox.models.config import DecoderConfig
from metavox.models.values import RawConfig

ARCHITECTURES: dict[str, Callable[[RawConfig], DecoderConfig]] = {
    "Gemma2ForCausalLM": gemma.read_gemma2,
    "Gemma3ForCausalLM": gemma.read_gemma3,
    "LlamaForCausalLM": llama.read_config,
    "MistralForCausalLM": mistral.read_config,
    "Phi3ForCausalLM": phi3.read_config,
    "Qwen2ForCausalLM": qwen2.read_config,
    "Qwen3ForCausalLM": qwen3.read_config,
    "Qwen3MoeForCausalLM": qwen3_moe.read_config,
}


def read_config(raw: RawConfig) -> DecoderConfig:
    """The decoder that a config.json describes.

    Raises:
        UnsupportedModel: the architecture, or something it asks for, is not implemented.
        InvalidCheckpoint: config.json names no architecture, or holds impossible values.
    """
    names = raw.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise InvalidCheckpoint(f"config.json: architectures must be a list of one name, and is {names!r}.")
    if names[0] not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedModel(f"The architecture {names[0]!r} is not supported; these are: {known}.")
    return ARCHITECTURES[names[0]](raw)
