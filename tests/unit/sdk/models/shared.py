"""Runs a decoder without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metavox.engine.loader import load_decoder
from metavox.models.decoder import Decoder
from metavox.models.registry import read_config
from metavox_kernels import LayerCache, PagedBatch

CPU = torch.device("cpu")
BLOCK_SIZE = 16


def load(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Decoder:
    """The decoder of a checkpoint, as its config.json describes it."""
    return load_decoder(
        folder, read_config(json.loads((folder / "config.json").read_text())), dtype, CPU, **options
    )


@torch.inference_mode()
def logits(decoder: Decoder, prompts: list[list[int]], length: int = 256) -> list[Tensor]:
    """[tokens, vocab] of each prompt, all computed in one step."""
    decoder.prepare(length, CPU)
    width = -(-max(map(len, prompts)) // BLOCK_SIZE)
    tables = torch.arange(len(prompts) * width, dtype=torch.int32).view(len(prompts), width)
    lengths = torch.tensor([len(ids) for ids in prompts], dtype=torch.int32)
    positions = torch.cat([torch.arange(len(ids)) for ids in prompts])
    row = torch.repeat_interleave(torch.arange(len(prompts)), lengths)
    batch = PagedBatch(
        query_start=torch.cat((torch.zeros(1, dtype=torch.int32), lengths.cumsum(0, dtype=torch.int32))),
        context_lens=lengths,
        block_tables=tables,
        slot_mapping=tables[row, positions // BLOCK_SIZE].long() * BLOCK_SIZE + positions % BLOCK_SIZE,
    )
    ids = torch.tensor([token for prompt in prompts for token in prompt])
    hidden = decoder.forward(ids, positions, caches(decoder, tables.numel()), batch)
    assert hidden.dtype == decoder.activation_dtype
    return list(decoder.logits(hidden).split(lengths.tolist()))


def caches(decoder: Decoder, num_blocks: int) -> list[LayerCache]:
    """Caches whose every number is NaN until it is written."""
    heads, d = decoder.config.num_key_value_heads, decoder.config.head_dim
    return [
        LayerCache(
            torch.full((num_blocks, heads, d, BLOCK_SIZE), torch.nan),
            torch.full((num_blocks, heads, BLOCK_SIZE, d), torch.nan),
        )
        for _ in decoder.layers
    ]
