"""Rewrites a checkpoint as GGUF, version 3, for llama.cpp.

The format is a header, typed key-value pairs, the names and shapes of the tensors (innermost dimension first) and
their bytes, each aligned: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import safe_open

from .checkpoint import FILE
from .shape import Shape

ALIGNMENT = 32
UINT32, FLOAT32, STRING = 4, 6, 8  # types of values
TENSOR_TYPE = {torch.float32: 0, torch.bfloat16: 30}
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path, checkpoint: Path, shape: Shape) -> Path:
    """Write the tensors of `checkpoint` in bfloat16, its norms in float32, and no vocabulary; returns `path`."""
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    with safe_open(checkpoint / FILE, "pt") as source, partial.open("wb") as target:
        tensors = {tensor_name(name): source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
        pairs = metadata(shape)
        target.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)))
        for key, value in pairs.items():
            target.write(_string(key) + _value(value))
        kept = {name: tensor if tensor.ndim > 1 else tensor.float() for name, tensor in tensors.items()}
        offset = 0
        for name, tensor in kept.items():
            target.write(_string(name) + struct.pack("<I", tensor.ndim))
            target.write(struct.pack(f"<{tensor.ndim}Q", *reversed(tensor.shape)))
            target.write(struct.pack("<IQ", TENSOR_TYPE[tensor.dtype], offset))
            offset += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        for tensor in kept.values():
            _align(target)
            target.write(tensor.contiguous().view(torch.uint8).numpy().data)
        _align(target)
    return partial.rename(path)


def metadata(shape: Shape) -> dict[str, str | int | float]:
    """What llama.cpp must know of the model."""
    return {
        "general.architecture": "qwen3",
        "general.name": "random",
        "general.file_type": 32,  # mostly bfloat16
        "qwen3.block_count": shape.num_hidden_layers,
        "qwen3.context_length": shape.config()["max_position_embeddings"],
        "qwen3.embedding_length": shape.hidden_size,
        "qwen3.feed_forward_length": shape.intermediate_size,
        "qwen3.attention.head_count": shape.num_attention_heads,
        "qwen3.attention.head_count_kv": shape.num_key_value_heads,
        "qwen3.attention.key_length": shape.head_dim,
        "qwen3.attention.value_length": shape.head_dim,
        "qwen3.attention.layer_norm_rms_epsilon": shape.config()["rms_norm_eps"],
        "qwen3.rope.freq_base": shape.config()["rope_theta"],
        "qwen3.vocab_size": shape.vocab_size,
        "tokenizer.ggml.model": "none",
    }


def tensor_name(name: str) -> str:
    """llama.cpp's name of a tensor of the hub's checkpoints."""
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    number, _, rest = name.removeprefix("model.layers.").partition(".")
    return f"blk.{number}.{NAMES[rest.removesuffix('.weight')]}.weight"


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    return struct.pack("<If", FLOAT32, value)


def _align(target: BinaryIO) -> None:
    target.write(bytes(-target.tell() % ALIGNMENT))
