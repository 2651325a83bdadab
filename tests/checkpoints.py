"""Writes small checkpoints with random weights, in the hub's layout, for tests.

The weights are drawn wide enough that logits differ by whole units and every norm and bias matters; the
initialisation of transformers (norms one, biases zero, logits all alike) would hide mistakes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

TINY: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
FAMILIES = {
    "gemma2": "Gemma2",
    "gemma3": "Gemma3",
    "llama": "Llama",
    "mistral": "Mistral",
    "phi3": "Phi3",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "qwen3_moe": "Qwen3Moe",
}
CONFIGS = {"Gemma3": "Gemma3TextConfig"}
SPECIAL = ["<pad>", "<s>", "</s>"]


def write_checkpoint(
    folder: Path,
    family: str = "qwen3",
    *,
    seed: int = 0,
    tokenizer: bool = True,
    max_shard_size: str = "1GB",
    dtype: torch.dtype = torch.float32,
    generation: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Write config.json, safetensors and, on request, a tokenizer into `folder`; returns it.

    Args:
        folder: created if need be.
        family: one of `FAMILIES`.
        seed: of the weights.
        tokenizer: whether to write one: byte-level, ids 0-2 special, 3-258 the bytes.
        max_shard_size: "1GB" writes one file, "50KB" a sharded checkpoint with an index.
        dtype: of the weights.
        generation: what generation_config.json holds instead of the ids in the config.
        config: changes to TINY.
    """
    import transformers

    name = FAMILIES[family]
    settings = {**TINY, **config}
    shape = getattr(transformers, CONFIGS.get(name, f"{name}Config"))(**settings)
    model: Any = getattr(transformers, f"{name}ForCausalLM")(shape)
    randomise(model, seed)
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    if tokenizer:
        write_tokenizer(folder)
    return folder


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw every parameter anew: matrices, stacked or not, at 1.5 / sqrt(columns), vectors around their value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)
            else:
                parameter.add_(noise * 0.2)


def write_tokenizer(folder: Path, *, add_bos: bool = False) -> None:
    """A byte-level BPE tokenizer: three special tokens, the 256 bytes, a few merges.

    It adds no special tokens, or with `add_bos` a <s> before each text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("e", "r"), ("Ġ", "a"), ("a", "n"), ("o", "n")]
    words = SPECIAL + alphabet + ["".join(pair) for pair in merges]
    vocab = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "bos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@contextlib.contextmanager
def one_cpu_thread() -> Iterator[None]:
    """Models this small wait for their threads longer than they work: 118 s of tests became 14 s.

    "auto" is the CPU here whatever the machine has, for another device adds in another order.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.backends.mps, "is_available", lambda: False)
        yield
    torch.set_num_threads(before)
