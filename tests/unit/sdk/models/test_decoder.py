"""Every setting of a decoder changes what it computes; its experts answer as if each token were alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from metavox.engine.loader import load_decoder
from metavox.models.config import DecoderConfig
from metavox.models.feed_forward import MixtureOfExperts
from metavox_kernels.native.build import load as load_native
from tests.checkpoints import one_cpu_thread, write_checkpoint
from tests.unit.sdk.models.shared import CPU, load, logits

PROMPT = random.Random(3).choices(range(3, 320), k=90)
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
GEMMA2 = {
    "sliding_window": 20,
    "query_pre_attn_scalar": 24,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 3.0,
}
MOE = {"moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": True}
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2": ("gemma2", GEMMA2),
    "mistral": ("mistral", {"sliding_window": 20}),
    "moe": ("qwen3_moe", {**MOE, "mlp_only_layers": [1]}),
    "yarn": ("qwen3", {"rope_parameters": YARN, "max_position_embeddings": 128}),
}


@pytest.fixture(scope="module", autouse=True)
def _one_cpu_thread():
    with one_cpu_thread():
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: write_checkpoint(tmp_path_factory.mktemp(name), family, tokenizer=False, **config)
        for name, (family, config) in CHECKPOINTS.items()
    }


def layers(config: DecoderConfig, **changes: Any) -> DecoderConfig:
    return replace(config, layers=tuple(replace(layer, **changes) for layer in config.layers))


def without_experts_norm(config: DecoderConfig) -> DecoderConfig:
    assert config.experts is not None
    return replace(config, experts=replace(config.experts, norm_topk_prob=False))


CHANGES = {
    "window": ("mistral", lambda c: layers(c, window=None)),
    "window of 21": ("mistral", lambda c: layers(c, window=21)),
    "alternating windows": ("gemma2", lambda c: layers(c, window=20)),
    "cap on scores": ("gemma2", lambda c: replace(c, attention_softcap=None)),
    "cap on logits": ("gemma2", lambda c: replace(c, final_softcap=None)),
    "offset of norms": ("gemma2", lambda c: replace(c, norm_offset=0.0)),
    "scale of embeddings": ("gemma2", lambda c: replace(c, embedding_scale=1.0)),
    "scale of scores": ("gemma2", lambda c: replace(c, attention_scale=None)),
    "activation": ("gemma2", lambda c: replace(c, hidden_act="silu")),
    "weights of experts": ("moe", without_experts_norm),
    "stretching": ("yarn", lambda c: layers(c, rope=replace(c.layers[0].rope, scaling=None))),
    "base of frequencies": ("yarn", lambda c: layers(c, rope=replace(c.layers[0].rope, theta=1e6))),
    "a part of each head": ("yarn", lambda c: layers(c, rope=replace(c.layers[0].rope, rotary_dim=8))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_decoder_that_ignored_a_setting_would_be_seen(name, folders):
    checkpoint, change = CHANGES[name]
    decoder = load(folders[checkpoint])
    other = load_decoder(folders[checkpoint], change(decoder.config), torch.float32, CPU)
    right, wrong = logits(decoder, [PROMPT])[0], logits(other, [PROMPT])[0]
    assert right.isfinite().all()
    assert (right - wrong).abs().max() > 0.01


def test_a_token_that_sees_all_of_a_window_is_not_changed_by_what_lies_before(folders):
    decoder = load(folders["mistral"])
    assert len(decoder.layers) == 3
    reach = 3 * (20 - 1)  # a layer looks 19 tokens back
    whole, tail = logits(decoder, [PROMPT, [5, *PROMPT[1:]]])
    assert torch.allclose(whole[reach + 1 :], tail[reach + 1 :], atol=1e-5)
    assert not torch.allclose(whole[reach], tail[reach], atol=1e-5)


def test_experts_answer_as_if_each_token_were_alone(folders):
    decoder = load(folders["moe"])
    dense = [not isinstance(layer.mlp, MixtureOfExperts) for layer in decoder.layers]
    assert dense == [False, True, False]
    mixture = decoder.layers[0].mlp
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    weights, chosen = mixture.route(x)
    assert torch.allclose(weights.sum(-1), torch.ones(40))
    assert len(chosen.unique()) > 4
    for token in range(40):
        row = x[token : token + 1]
        answers = [w * mixture.experts[i](row) for w, i in zip(weights[token], chosen[token], strict=True)]
        assert torch.allclose(mixture(x)[token], torch.stack(answers).sum(0)[0], atol=1e-5)


@pytest.mark.skipif(load_native("linear") is None, reason="compiled ops promise the same bits; torch's do not")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_logits_of_a_prompt_are_the_same_bits_alone_and_in_a_batch(name, folders):
    decoder = load(folders[name])
    draw = random.Random(1)
    prompts = [draw.choices(range(3, 320), k=n) for n in (1, 7, 33, 2, 64)]
    for prompt, batched in zip(prompts, logits(decoder, prompts), strict=True):
        assert torch.equal(batched, logits(decoder, [prompt])[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_on_the_cpu_activations_are_float32_whatever_the_weights_are(dtype, folders):
    decoder = load(folders["gemma2"], dtype)
    exact, rounded = logits(load(folders["gemma2"]), [PROMPT])[0], logits(decoder, [PROMPT])[0]
    assert decoder.activation_dtype == rounded.dtype == torch.float32
    assert decoder.nbytes < 0.52 * 4 * decoder.num_parameters
    assert 0 < (exact - rounded).abs().mean() < 0.05 * exact.std()
