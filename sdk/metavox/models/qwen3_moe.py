"""Qwen3's mixtures of experts (Qwen3 Technical Report, 2025, arXiv:2505.09388)."""

from dataclasses import replace

from metavox.errors import InvalidCheckpoint, shown
from metavox.models.config import DecoderConfig, ExpertsConfig, RawConfig, read_decoder_config
from metavox.models.values import flag, positive


def read_config(raw: RawConfig) -> DecoderConfig:
    """Read a Qwen3-MoE config.json."""
    understood = ("num_experts", "num_local_experts", "sliding_window")
    config = read_decoder_config(raw, "Qwen3MoeForCausalLM", understood=understood)
    sparse = _sparse_layers(raw, len(config.layers))
    layers = tuple(replace(layer, sparse=i in sparse) for i, layer in enumerate(config.layers))
    return replace(config, qk_norm=True, layers=layers, experts=_read_experts(raw))


def _read_experts(raw: RawConfig) -> ExpertsConfig:
    num_experts = positive(raw, "num_experts", raw.get("num_local_experts"))
    return ExpertsConfig(
        num_experts=num_experts,
        num_experts_per_tok=positive(raw, "num_experts_per_tok", most=num_experts),
        intermediate_size=positive(raw, "moe_intermediate_size"),
        norm_topk_prob=flag(raw, "norm_topk_prob"),
    )


def _sparse_layers(raw: RawConfig, count: int) -> set[int]:
    """Every `decoder_sparse_step`-th layer, save those in `mlp_only_layers`."""
    dense = raw.get("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(isinstance(i, int) for i in dense):
        raise InvalidCheckpoint(f"config.json: mlp_only_layers must be a list of integers, and is {shown(dense)}.")
    step = positive(raw, "decoder_sparse_step", 1)
    return set(range(step - 1, count, step)) - set(dense)
