"""The config.json files of models that people use are read for what they say."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from metavox.engine.loader import expected_shapes
from metavox.layers.rotary import Llama3Scaling, Rope
from metavox.models.config import DecoderConfig
from metavox.models.registry import read_config

QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "mlp_bias": False,
    "model_type": "llama",
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
LLAMA3_SCALING = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}


def sizes(hidden: int, inner: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {**dict(zip(names, (hidden, inner, layers, heads), strict=True)), **more}


def parameters(shape: DecoderConfig) -> int:
    """Of all tensors that the decoder asks a checkpoint for."""
    return sum(map(prod, expected_shapes(shape).values()))


FILES = {
    "Qwen/Qwen3-0.6B": {**QWEN3, **sizes(1024, 3072, 28, 16, tie_word_embeddings=True, max_window_layers=28)},
    "Qwen/Qwen3-8B": {**QWEN3, **sizes(4096, 12288, 36, 32, tie_word_embeddings=False, max_window_layers=36)},
    "meta-llama/Llama-3.2-1B": {
        **LLAMA,
        **sizes(2048, 8192, 16, 32, num_key_value_heads=8, head_dim=64, vocab_size=128256),
        "eos_token_id": [128001, 128008, 128009],
        "max_position_embeddings": 131072,
        "rope_scaling": LLAMA3_SCALING,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
    },
    "HuggingFaceTB/SmolLM2-135M": {
        **LLAMA,
        **sizes(576, 1536, 30, 9, num_key_value_heads=3, vocab_size=49152),
        "is_llama_config": True,
        "max_position_embeddings": 8192,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
    },
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": {
        **LLAMA,
        **sizes(2048, 5632, 22, 32, num_key_value_heads=4, vocab_size=32000),
        "max_position_embeddings": 2048,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
    },
}


@pytest.mark.parametrize(
    ("name", "num_parameters", "head_dim", "rope"),
    [
        ("Qwen/Qwen3-0.6B", 596_049_920, 128, Rope(1e6)),
        ("Qwen/Qwen3-8B", 8_190_735_360, 128, Rope(1e6)),
        ("meta-llama/Llama-3.2-1B", 1_235_814_400, 64, Rope(5e5, Llama3Scaling(32.0, 1.0, 4.0, 8192))),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008, 64, Rope(1e5)),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, 64, Rope(1e4)),
    ],
)
def test_a_real_config_gives_the_model_that_its_card_describes(name, num_parameters, head_dim, rope):
    shape = read_config(FILES[name])
    assert (parameters(shape), shape.head_dim) == (num_parameters, head_dim)
    assert {layer.rope for layer in shape.layers} == {rope}
