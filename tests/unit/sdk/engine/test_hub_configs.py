"""The config.json files of models that people use are read for what they say."""

from __future__ import annotations

from collections import Counter
from math import log, prod, sqrt
from typing import Any

import pytest

from metavox.engine.loader import expected_shapes
from metavox.layers.rotary import Llama3Scaling, LongRopeScaling, Rope, YarnScaling
from metavox.models.config import DecoderConfig, LayerConfig
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
QWEN2: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "model_type": "qwen2",
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
}
MISTRAL: dict[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
GEMMA: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": [1, 106],
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
PHI3: dict[str, Any] = {
    "architectures": ["Phi3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
    "embd_pdrop": 0.0,
    "eos_token_id": 32000,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "model_type": "phi3",
    "original_max_position_embeddings": 4096,
    "resid_pdrop": 0.0,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
GEMMA3_LAYERS = {LayerConfig(Rope(1e4), window=512): 22, LayerConfig(Rope(1e6)): 4}
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
    "Qwen/Qwen2.5-0.5B-Instruct": {
        **QWEN2,
        **sizes(896, 4864, 24, 14, num_key_value_heads=2, vocab_size=151936),
        "max_window_layers": 21,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-7B-Instruct, stretched as its card says": {
        **QWEN2,
        **sizes(3584, 18944, 28, 28, num_key_value_heads=4, vocab_size=152064),
        "max_window_layers": 28,
        "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
        "sliding_window": 131072,
        "tie_word_embeddings": False,
    },
    "mistralai/Mistral-7B-v0.1": {**MISTRAL, "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 32000},
    "mistralai/Mistral-7B-Instruct-v0.3": {
        **MISTRAL,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "vocab_size": 32768,
    },
    "google/gemma-2-2b-it": {
        **GEMMA,
        **sizes(2304, 9216, 26, 8, num_key_value_heads=4, vocab_size=256000),
        "architectures": ["Gemma2ForCausalLM"],
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "rope_theta": 10000.0,
        "sliding_window": 4096,
    },
    "google/gemma-3-1b-it": {
        **GEMMA,
        **sizes(1152, 6912, 26, 4, num_key_value_heads=1, vocab_size=262144),
        "architectures": ["Gemma3ForCausalLM"],
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "max_position_embeddings": 32768,
        "model_type": "gemma3_text",
        "rope_local_base_freq": 10000,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
    },
    "google/gemma-3-1b-it, saved by transformers 5": {
        **GEMMA,
        **sizes(1152, 6912, 26, 4, num_key_value_heads=1, vocab_size=262144),
        "architectures": ["Gemma3ForCausalLM"],
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 4 + ["sliding_attention"] * 2,
        "max_position_embeddings": 32768,
        "model_type": "gemma3_text",
        "rope_parameters": {
            "full_attention": {"rope_theta": 1000000, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000, "rope_type": "default"},
        },
        "sliding_window": 512,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": False,
    },
    "microsoft/Phi-3-mini-4k-instruct": {
        **PHI3,
        **sizes(3072, 8192, 32, 32, num_key_value_heads=32, vocab_size=32064),
        "max_position_embeddings": 4096,
        "rope_scaling": None,
        "sliding_window": 2047,
        "tie_word_embeddings": False,
    },
    "microsoft/Phi-4-mini-instruct": {
        **PHI3,
        **sizes(3072, 8192, 32, 24, num_key_value_heads=8, vocab_size=200064),
        "full_attn_mod": 1,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "partial_rotary_factor": 0.75,
        "rope_scaling": {"long_factor": [3.0] * 48, "short_factor": [1.0] * 48, "type": "longrope"},
        "sliding_window": 262144,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-30B-A3B": {
        **QWEN3,
        **sizes(2048, 6144, 48, 32, tie_word_embeddings=False, max_window_layers=48),
        "architectures": ["Qwen3MoeForCausalLM"],
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "model_type": "qwen3_moe",
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_key_value_heads": 4,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    },
}


QWEN_YARN = YarnScaling(4.0, 32768, attention_factor=0.1 * log(4) + 1)
PHI4_LONG = LongRopeScaling((1.0,) * 48, (3.0,) * 48, 4096, attention_factor=sqrt(1 + log(32) / log(4096)))


@pytest.mark.parametrize(
    ("name", "num_parameters", "head_dim", "layers"),
    [
        ("Qwen/Qwen3-0.6B", 596_049_920, 128, {LayerConfig(Rope(1e6)): 28}),
        ("Qwen/Qwen3-8B", 8_190_735_360, 128, {LayerConfig(Rope(1e6)): 36}),
        (
            "meta-llama/Llama-3.2-1B",
            1_235_814_400,
            64,
            {LayerConfig(Rope(5e5, Llama3Scaling(32.0, 1.0, 4.0, 8192))): 16},
        ),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008, 64, {LayerConfig(Rope(1e5)): 30}),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, 64, {LayerConfig(Rope(1e4)): 22}),
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768, 64, {LayerConfig(Rope(1e6)): 24}),
        (
            "Qwen/Qwen2.5-7B-Instruct, stretched as its card says",
            7_615_616_512,
            128,
            {LayerConfig(Rope(1e6, QWEN_YARN)): 28},
        ),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096, 128, {LayerConfig(Rope(1e4), window=4096): 32}),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552, 128, {LayerConfig(Rope(1e6)): 32}),
        (
            "google/gemma-2-2b-it",
            2_614_341_888,
            256,
            {LayerConfig(Rope(1e4), window=4096): 13, LayerConfig(Rope(1e4)): 13},
        ),
        ("google/gemma-3-1b-it", 999_885_952, 256, GEMMA3_LAYERS),
        ("google/gemma-3-1b-it, saved by transformers 5", 999_885_952, 256, GEMMA3_LAYERS),
        ("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552, 96, {LayerConfig(Rope(1e4), window=2047): 32}),
        ("microsoft/Phi-4-mini-instruct", 3_836_021_760, 128, {LayerConfig(Rope(1e4, PHI4_LONG, 96)): 32}),
        ("Qwen/Qwen3-30B-A3B", 30_532_122_624, 128, {LayerConfig(Rope(1e6), sparse=True): 48}),
    ],
)
def test_a_real_config_gives_the_model_that_its_card_describes(name, num_parameters, head_dim, layers):
    shape = read_config(FILES[name])
    assert (parameters(shape), shape.head_dim) == (num_parameters, head_dim)
    assert Counter(shape.layers) == layers


def test_a_model_that_is_stretched_has_the_longer_context():
    name = "Qwen/Qwen2.5-7B-Instruct, stretched as its card says"
    assert read_config(FILES[name]).max_position_embeddings == 131072
    assert read_config({**FILES[name], "rope_scaling": None}).max_position_embeddings == 32768


def test_every_sixth_layer_of_gemma_3_sees_everything():
    shape = read_config(FILES["google/gemma-3-1b-it"])
    assert [i for i, layer in enumerate(shape.layers) if layer.window is None] == [5, 11, 17, 23]
    assert shape == read_config(FILES["google/gemma-3-1b-it, saved by transformers 5"])


def test_gemmas_settings_are_read():
    shape = read_config(FILES["google/gemma-2-2b-it"])
    assert (shape.attention_softcap, shape.final_softcap) == (50.0, 30.0)
    assert (shape.embedding_scale, shape.attention_scale) == (48.0, 256**-0.5)
    assert shape.tie_word_embeddings, "its files do not say so"
    caps = {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    shape = read_config({**FILES["google/gemma-2-2b-it"], **caps})
    assert (shape.attention_softcap, shape.final_softcap) == (None, None)
