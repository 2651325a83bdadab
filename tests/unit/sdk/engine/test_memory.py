"""How many blocks the KV cache gets where nobody said."""

from __future__ import annotations

import os

import pytest
import torch

from metavox.config import EngineConfig
from metavox.engine.memory import block_bytes, count_blocks
from metavox.errors import InvalidArgument
from metavox.layers.rotary import Rope
from metavox.models.config import DecoderConfig, LayerConfig

CPU, MPS, CUDA = torch.device("cpu"), torch.device("mps"), torch.device("cuda")
GIB = 1 << 30


def shape(layers: int, context: int) -> DecoderConfig:
    """A model whose keys and values take 2 KiB a layer and token in bfloat16."""
    return DecoderConfig(
        architecture="LlamaForCausalLM",
        vocab_size=1000,
        hidden_size=512,
        intermediate_size=512,
        num_attention_heads=8,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=context,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        qk_norm=False,
        layers=(LayerConfig(Rope(10_000.0)),) * layers,
    )


def pool(model: DecoderConfig, device: torch.device = CPU, num_seqs: int = 32, **settings: object) -> int:
    """The bytes of the pool."""
    config = EngineConfig(model="any", **settings)  # type: ignore[arg-type]
    size = block_bytes(config, model, torch.bfloat16)
    assert size == config.block_size * model.num_hidden_layers * 2048
    return count_blocks(config, model, torch.bfloat16, device, num_seqs) * size


@pytest.fixture(autouse=True)
def host(monkeypatch):
    """A host with 16 GiB."""
    values = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", values.__getitem__)


def test_a_small_model_gets_room_for_every_sequence():
    assert pool(shape(2, 1024)) == 32 * 1024 * 2 * 2048


@pytest.mark.parametrize("device", [CPU, MPS])
def test_a_long_context_takes_one_gibibyte_and_not_that_of_every_sequence(device):
    # 131,072 tokens are 512 MiB in two layers; 32 sequences of them would be 16 GiB.
    assert pool(shape(2, 131_072), device) == GIB


def test_on_a_cpu_one_full_sequence_may_take_more_for_it_is_not_taken_until_written():
    assert pool(shape(16, 131_072)) == 4 * GIB
    assert pool(shape(16, 131_072), MPS) == GIB


def test_a_host_never_gives_more_than_half_of_its_memory():
    assert pool(shape(64, 131_072)) == 8 * GIB
    with pytest.raises(InvalidArgument, match="max_model_len needs 8192"):
        pool(shape(64, 131_072), max_model_len=131_072)


def test_a_cuda_device_gives_what_the_weights_left_of_its_share(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * GIB, 8 * GIB))
    assert pool(shape(16, 131_072), CUDA, gpu_memory_utilization=0.5) == 2 * GIB
    with pytest.raises(InvalidArgument, match="room for 0 blocks"):
        pool(shape(16, 131_072), CUDA, gpu_memory_utilization=0.1)


def test_a_size_that_was_asked_for_is_taken_as_it_is():
    assert pool(shape(2, 131_072), kv_cache_memory_bytes=3 * GIB) == 3 * GIB
    assert pool(shape(2, 131_072), num_kv_blocks=7) == 7 * 16 * 2 * 2048
