"""Writes a tiny model with random weights as GGUF, with the package of llama.cpp's own project."""

from __future__ import annotations

from pathlib import Path

import numpy as np

VOCABULARY = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
HIDDEN, FEED_FORWARD, HEADS, LAYERS, CONTEXT = 32, 64, 2, 2, 256
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def write_gguf(path: Path, *, seed: int = 0) -> Path:
    """A Llama of 2 layers whose tokens are bytes, in float32; returns `path`."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(VOCABULARY)
    writer.add_token_scores([0.0] * len(VOCABULARY))
    writer.add_token_types([UNKNOWN, CONTROL, CONTROL, *([BYTE] * 256)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for name, shape in _shapes().items():
        writer.add_tensor(name, _random(shape, np.random.default_rng((seed, len(name), sum(name.encode())))))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(VOCABULARY), HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "output.weight": (len(VOCABULARY), HIDDEN),
    }
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (HIDDEN, HIDDEN)
        shapes[f"blk.{layer}.ffn_gate.weight"] = shapes[f"blk.{layer}.ffn_up.weight"] = (FEED_FORWARD, HIDDEN)
        shapes[f"blk.{layer}.ffn_down.weight"] = (HIDDEN, FEED_FORWARD)
        shapes[f"blk.{layer}.attn_norm.weight"] = shapes[f"blk.{layer}.ffn_norm.weight"] = (HIDDEN,)
    return shapes


def _random(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    return (generator.standard_normal(shape) * 1.5 / shape[1] ** 0.5).astype(np.float32)
