"""Weights are quantized as they are loaded: the layers' matrices, the vocabulary's on request, nothing else."""

from __future__ import annotations

import random

import pytest
import torch
from safetensors.torch import load_file

from metavox.models.feed_forward import MixtureOfExperts
from metavox_kernels.native.build import load as load_native
from tests.checkpoints import one_cpu_thread, write_checkpoint
from tests.unit.sdk.models.shared import load, logits

PROMPT = random.Random(3).choices(range(3, 320), k=60)
LARGEST = {"int8": 127, "int4": 7}
IDS = torch.arange(320)


@pytest.fixture(scope="module", autouse=True)
def _one_cpu_thread():
    with one_cpu_thread():
        yield


@pytest.fixture(scope="module", params=["qwen3", "qwen3_moe", "phi3"])
def folder(request, tmp_path_factory):
    moe = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
    config = moe if request.param == "qwen3_moe" else {}
    return write_checkpoint(tmp_path_factory.mktemp(request.param), request.param, tokenizer=False, **config)


def bound(weight: torch.Tensor, quantization: str) -> torch.Tensor:
    """A step of each group of 32: half of one for rounding, and what the scale itself is rounded by."""
    steps = weight.unflatten(-1, (-1, 32)).abs().amax(-1, keepdim=True) / LARGEST[quantization]
    return (steps).expand(*steps.shape[:-1], 32).flatten(-2)


@pytest.mark.parametrize(("quantization", "error"), [("int8", 0.1), ("int4", 0.6)])
def test_a_quantized_decoder_takes_less_and_says_nearly_the_same(folder, quantization, error):
    whole, small = load(folder), load(folder, quantization=quantization, quantize_lm_head=True)
    assert small.num_parameters == whole.num_parameters
    # Torch has no 4-bit integers: the naive twin keeps them in 8.
    share = 0.25 if quantization == "int4" and load_native("linear") else 0.35
    assert small.nbytes < share * whole.nbytes
    right, near = logits(whole, [PROMPT])[0], logits(small, [PROMPT])[0]
    assert 0 < (right - near).abs().mean() < error * right.std()


@pytest.mark.parametrize("quantization", ["int8", "int4"])
@pytest.mark.parametrize("asked", [False, True])
def test_the_vocabulary_is_quantized_on_request_alone(folder, quantization, asked):
    decoder = load(folder, quantization=quantization, quantize_lm_head=asked)
    tensors = load_file(folder / "model.safetensors")
    for matrix, name in [(decoder.embed_tokens, "model.embed_tokens.weight"), (decoder.lm_head, "lm_head.weight")]:
        stored, loaded = tensors[name], matrix.rows(IDS, torch.float32)
        assert torch.equal(stored, loaded) is not asked
        assert ((stored - loaded).abs() <= bound(stored, quantization)).all()


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_routers_and_norms_keep_their_precision(folder, quantization):
    decoder = load(folder, quantization=quantization, quantize_lm_head=True)
    tensors = load_file(folder / "model.safetensors")
    for i, layer in enumerate(decoder.layers):
        stored = tensors[f"model.layers.{i}.post_attention_layernorm.weight"]
        assert torch.equal(layer.mlp_norm, stored)
        if isinstance(layer.mlp, MixtureOfExperts):
            router = layer.mlp.router.rows(torch.arange(4), torch.float32)
            assert torch.equal(router, tensors[f"model.layers.{i}.mlp.gate.weight"])


def test_fused_and_separate_files_are_packed_alike(tmp_path):
    """Phi-3's files hold rows of query, key and value in one tensor; Llama's hold them apart."""
    apart = write_checkpoint(tmp_path / "llama", "llama", tokenizer=False)
    tensors = load_file(apart / "model.safetensors")
    decoder = load(apart)
    names = [f"model.layers.2.self_attn.{part}_proj.weight" for part in "qkv"]
    rows = torch.cat([tensors[name] for name in names])
    assert torch.equal(
        decoder.layers[2].self_attn.qkv_proj.weight.rows(torch.arange(len(rows)), torch.float32), rows
    )
    fused = write_checkpoint(tmp_path / "phi3", "phi3", tokenizer=False)
    rows = load_file(fused / "model.safetensors")["model.layers.2.mlp.gate_up_proj.weight"]
    weight = load(fused).layers[2].mlp.gate_up_proj.weight
    assert torch.equal(weight.rows(torch.arange(len(rows)), torch.float32), rows)
