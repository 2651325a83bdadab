"""Checkpoints of the measured shape with random weights, written once into a cache folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from .shape import Shape

FILE = "model.safetensors"


def write_checkpoint(folder: Path, shape: Shape, *, looping: bool = False) -> Path:
    """Write config.json, model.safetensors in bfloat16 and a tokenizer; returns `folder`.

    Args:
        folder: left as it is if it holds a whole checkpoint already.
        shape: of the model.
        looping: weights whose greedy continuation is two tokens in turn, for ever, as every layer adds nothing:
            the vectors of tokens 2k and 2k + 1 are (u, v) and (u, -v), and the last norm flips the sign of the
            second half, so that each scores highest on the other. The layers cost as much as ever.
    """
    if (folder / "config.json").exists():
        return folder
    from safetensors.torch import save_file

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tensors = dict(_tensors(shape))
    if looping:
        _make_loop(tensors, shape)
    save_file(tensors, folder / FILE, metadata={"format": "pt"})
    _write_tokenizer(folder, shape.vocab_size)
    (folder / "config.json").write_text(json.dumps(shape.config(), indent=1))  # last: now it is whole
    return folder


def _tensors(shape: Shape) -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator).mul_(columns**-0.5).bfloat16()

    def ones(size: int) -> Tensor:
        return torch.ones(size, dtype=torch.bfloat16)

    hidden, inner = shape.hidden_size, shape.intermediate_size
    yield "model.embed_tokens.weight", matrix(shape.vocab_size, hidden)
    for number in range(shape.num_hidden_layers):
        layer = f"model.layers.{number}."
        yield layer + "input_layernorm.weight", ones(hidden)
        yield layer + "self_attn.q_proj.weight", matrix(shape.query_size, hidden)
        yield layer + "self_attn.k_proj.weight", matrix(shape.kv_size, hidden)
        yield layer + "self_attn.v_proj.weight", matrix(shape.kv_size, hidden)
        yield layer + "self_attn.o_proj.weight", matrix(hidden, shape.query_size)
        yield layer + "self_attn.q_norm.weight", ones(shape.head_dim)
        yield layer + "self_attn.k_norm.weight", ones(shape.head_dim)
        yield layer + "post_attention_layernorm.weight", ones(hidden)
        yield layer + "mlp.gate_proj.weight", matrix(inner, hidden)
        yield layer + "mlp.up_proj.weight", matrix(inner, hidden)
        yield layer + "mlp.down_proj.weight", matrix(hidden, inner)
    yield "model.norm.weight", ones(hidden)


def _make_loop(tensors: dict[str, Tensor], shape: Shape) -> None:
    half = shape.hidden_size // 2
    for name, tensor in tensors.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor.zero_()
    embedding = tensors["model.embed_tokens.weight"]
    embedding /= embedding.float().norm(dim=1, keepdim=True)
    embedding[1::2, :half] = embedding[0::2, :half]
    embedding[1::2, half:] = -embedding[0::2, half:]
    tensors["model.norm.weight"][half:] = -1


def _write_tokenizer(folder: Path, vocab_size: int) -> None:
    """A byte-level vocabulary in which every id has a text, so that detokenization works as hard as ever."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words += [f"{'Ġ' if number % 2 else ''}{_letters(number)}" for number in range(vocab_size - len(words))]
    tokenizer = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(words[:3])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "bos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _letters(number: int) -> str:
    """A word of four letters, another for every number below 26 ** 4."""
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(4))
