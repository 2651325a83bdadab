"""Write a trained model as the folder that engines and ``transformers`` load, with a model card."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

# A chat is laid out as the texts of the corpus are: what is asked on one line, what is told on the next.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"

CARD = Path(__file__).with_name("card.md")


@dataclass(frozen=True)
class Measured:
    """What a run measured; losses are in nats per token."""

    parameters: int
    tokens: int
    steps: int
    window: int
    seconds: float
    train_loss: float
    held_out_loss: float


def write(out: Path, model: Qwen3ForCausalLM, tokenizer: Tokenizer, end: str, measured: Measured) -> None:
    """Write weights, configuration, tokenizer and model card into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    _write_weights(out / "model.safetensors", model)
    _write_json(out / "config.json", _config(model))
    _write_json(out / "generation_config.json", _generation(tokenizer.token_to_id(end)))
    tokenizer.save(str(out / "tokenizer.json"))
    _write_json(out / "tokenizer_config.json", _tokenizer(end, model.config.max_position_embeddings))
    (out / "README.md").write_text(_card(model, measured, out / "model.safetensors"), encoding="utf-8")


def _write_weights(path: Path, model: Qwen3ForCausalLM) -> None:
    # The output matrix is the embedding: it is stored once, as tie_word_embeddings tells every reader.
    weights = {name: t.to(torch.bfloat16).contiguous() for name, t in model.state_dict().items()}
    weights.pop("lm_head.weight")
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors writes files that only their owner may read


def _config(model: Qwen3ForCausalLM) -> dict[str, object]:
    # Stored in bfloat16 to be small, run in float32, so that a prompt gives the same tokens alone and among others.
    config = model.config
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": "float32",
        "eos_token_id": config.eos_token_id,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": config.initializer_range,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "model_type": "qwen3",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": config.vocab_size,
    }


def _generation(end_id: int) -> dict[str, object]:
    return {"do_sample": True, "eos_token_id": end_id, "temperature": 0.7, "top_k": 40, "top_p": 0.95}


def _tokenizer(end: str, longest: int) -> dict[str, object]:
    return {
        "add_prefix_space": False,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": end,
        "model_max_length": longest,
        "pad_token": end,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _card(model: Qwen3ForCausalLM, measured: Measured, weights: Path) -> str:
    config = model.config
    return CARD.read_text(encoding="utf-8").format(
        **vars(measured),
        megabytes=weights.stat().st_size / 1e6,
        minutes=measured.seconds / 60,
        threads=torch.get_num_threads(),
        perplexity=math.exp(measured.held_out_loss),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        head_dim=config.head_dim,
        kv_heads=config.num_key_value_heads,
        mlp=config.intermediate_size,
        vocab=config.vocab_size,
        positions=config.max_position_embeddings,
    )


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
