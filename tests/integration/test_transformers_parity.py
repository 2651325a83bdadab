"""The same tokens and logits as transformers, on random weights of every family, in float32."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from metavox import LLM, SamplingParams
from metavox.models.decoder import Decoder
from metavox_kernels.native.build import load
from tests.checkpoints import write_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_OUTPUT = 12
CONTEXT = 256
TOLERANCE = 1e-4
GREEDY = SamplingParams(temperature=0, max_tokens=NUM_OUTPUT, ignore_eos=True)
# Prompts are cut into chunks, and sequences thrown out and taken in again: the longest needs all 128 blocks.
CRAMPED = {"max_num_seqs": 9, "max_num_batched_tokens": 64, "num_kv_blocks": 128, "block_size": 2}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "beta_fast": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.5,
    "short_factor": [1.0, 1.1, 1.3, 2.0],
    "long_factor": [1.0, 1.5, 3.0, 9.0],
}
GEMMA2 = {
    "sliding_window": 20,
    "query_pre_attn_scalar": 24,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 3.0,
}
GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
}
MOE = {"moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3}


@dataclass(frozen=True)
class Variant:
    """A checkpoint, and what it is asked.

    Attributes:
        family: of `tests.checkpoints.FAMILIES`.
        seed: of the weights, the first at which every choice of a token is clear: float32 sums in another order
            differ by 1e-5, and where two logits are nearer than that, neither choice is the right one.
        config: changes to `tests.checkpoints.TINY`.
        shortest, longest: of the prompts.
        engine: arguments for `LLM`.
    """

    family: str
    seed: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    shortest: int = 1
    longest: int = CONTEXT - NUM_OUTPUT
    engine: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "qwen3": Variant("qwen3"),
    "qwen3-tied-wide-heads": Variant("qwen3", 0, {"tie_word_embeddings": True, "head_dim": 32}),
    "qwen3-bias": Variant("qwen3", 0, {"attention_bias": True, "num_key_value_heads": 1}),
    "qwen3-yarn": Variant("qwen3", 0, {"rope_parameters": YARN_ROPE}),
    "qwen2": Variant("qwen2", 1),
    "qwen2-window-yarn": Variant(
        "qwen2",
        1,
        {
            "use_sliding_window": True,
            "sliding_window": 20,
            "max_window_layers": 1,
            "rope_parameters": {**YARN_ROPE, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.4},
        },
    ),
    "llama": Variant("llama"),
    "llama-tied-no-groups": Variant("llama", 0, {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama-llama3": Variant("llama", 0, {"rope_parameters": LLAMA3_ROPE}),
    "llama-linear": Variant("llama", 0, {"rope_parameters": LINEAR_ROPE}),
    "llama-biases": Variant("llama", 0, {"attention_bias": True, "mlp_bias": True}),
    "mistral-window": Variant("mistral", 0, {"sliding_window": 20}),
    "gemma2": Variant("gemma2", 0, GEMMA2),
    "gemma3": Variant(
        "gemma3",
        0,
        {
            "sliding_window": 20,
            "sliding_window_pattern": 2,
            "query_pre_attn_scalar": 24,
            "final_logit_softcapping": 3.0,
            "rope_parameters": GEMMA3_ROPE,
        },
    ),
    "phi3-window": Variant("phi3", 0, {"sliding_window": 20}),
    "phi3-longrope-long": Variant(
        "phi3", 0, {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 16}, shortest=17
    ),
    "phi3-longrope-short": Variant(
        "phi3",
        1,
        {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 112},
        longest=100,
        engine={"max_model_len": 112},
    ),
    "qwen3-moe": Variant("qwen3_moe", 0, {**MOE, "norm_topk_prob": True, "tie_word_embeddings": True}),
    "qwen3-moe-dense-layers": Variant("qwen3_moe", 0, {**MOE, "decoder_sparse_step": 2, "mlp_only_layers": [1]}),
    "qwen3-moe-some-dense": Variant("qwen3_moe", 0, {**MOE, "mlp_only_layers": [1]}),
}


class Recorder:
    """Keeps the logits after every token that a decoder computes, by all the tokens up to it; `again` holds the
    first ones and the others of tokens that were computed several times.

    The tokens before those of a step are found as attention finds their keys: through the block table.
    """

    def __init__(self) -> None:
        self.logits: dict[tuple[int, ...], torch.Tensor] = {}
        self.again: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._tokens: dict[int, int] = {}

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        forward = Decoder.forward

        def watched(decoder, ids, positions, kv, batch):
            hidden = forward(decoder, ids, positions, kv, batch)
            self._tokens.update(zip(batch.slot_mapping.tolist(), ids.tolist(), strict=True))
            for prefix, row in zip(
                self._prefixes(batch, kv[0].block_size), decoder.logits(hidden).unbind(), strict=True
            ):
                first = self.logits.setdefault(prefix, row)
                if first is not row:
                    self.again.append((first, row))
            return hidden

        patch.setattr(Decoder, "forward", watched)

    def _prefixes(self, batch, block_size):
        starts = batch.query_start.tolist()
        for s, context in enumerate(batch.context_lens.tolist()):
            blocks = batch.block_tables[s].tolist()
            slots = (blocks[at // block_size] * block_size + at % block_size for at in range(context))
            tokens = tuple(self._tokens[slot] for slot in slots)
            for end in range(context - (starts[s + 1] - starts[s]), context):
                yield tokens[: end + 1]

    def after(self, prompt: list[int], output: list[int]) -> torch.Tensor:
        """[tokens, vocab], the logits after each token of both."""
        tokens = tuple(prompt + output)
        return torch.stack([self.logits[tokens[: end + 1]] for end in range(len(tokens))])


def mixed_prompts(shortest: int = 1, longest: int = CONTEXT - NUM_OUTPUT) -> list[list[int]]:
    """32 prompts: every length from 1 up, some longer than a step of 64 tokens, one as long as it may be, some
    with the same first 40 tokens."""
    draw = random.Random(5)
    lengths = [*range(1, 21), 31, 32, 33, 47, 64, 65, 100, 150, CONTEXT - NUM_OUTPUT, 48, 60, 90]
    shared = [draw.randrange(320) for _ in range(40)]
    prompts = [[draw.randrange(320) for _ in range(min(max(n, shortest), longest))] for n in lengths]
    return prompts[:-4] + [shared + prompt[40:] for prompt in prompts[-4:]]


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    recorder.watch(monkeypatch)
    return recorder


def checkpoint(variant: Variant, folder):
    return write_checkpoint(folder, variant.family, tokenizer=False, seed=variant.seed, **variant.config)


def reference_model(folder, dtype=torch.float32):
    from transformers import AutoModelForCausalLM

    # Other implementations of attention leave out the cap on scores.
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, local_files_only=True, attn_implementation="eager"
    )


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_a_mixed_batch_in_chunks_with_shared_prefixes_and_preemption_gives_what_transformers_does(
    name, tmp_path, recorder
):
    variant = VARIANTS[name]
    folder = checkpoint(variant, tmp_path)
    llm = LLM(folder, dtype="float32", device="cpu", **(CRAMPED | variant.engine))
    prompts = mixed_prompts(variant.shortest, variant.longest)
    assert len(prompts) == 32
    outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], GREEDY)
    assert llm._driver.engine.scheduler.num_preemptions > 0
    assert max(output.num_cached_tokens for output in outputs) > 0
    assert recorder.again
    if load("linear") is not None:  # compiled ops promise it; torch's do not
        assert all(torch.equal(first, later) for first, later in recorder.again), "the same bits in every batch"
    reference = reference_model(folder)
    for ids, output in zip(prompts, outputs, strict=True):
        tokens = output.outputs[0].token_ids
        # Fed with our tokens, transformers must choose each of them: then it would have written the same.
        expected = reference(torch.tensor([ids + tokens[:-1]])).logits[0]
        ours = recorder.after(ids, tokens[:-1])
        assert ours.shape == expected.shape
        assert (ours - expected).abs().max() <= TOLERANCE
        chosen = expected[len(ids) - 1 :]
        assert tokens == chosen.argmax(-1).tolist()
        assert chosen.std() > 0.5, "logits all alike would prove nothing"
        first, second = chosen.topk(2).values.unbind(-1)
        assert (first - second).min() > 2 * TOLERANCE, "a near tie would make the tokens a matter of luck"


@pytest.mark.parametrize(("family", "seed"), [("qwen3", 0), ("llama", 0), ("gemma2", 0)])
def test_generate_of_transformers_writes_the_same(family, seed, tmp_path):
    folder = write_checkpoint(tmp_path, family, tokenizer=False, eos_token_id=[*range(2, 24)], seed=seed)
    prompts = mixed_prompts()
    outputs = LLM(folder).generate(
        [{"prompt_token_ids": ids} for ids in prompts], SamplingParams(temperature=0, max_tokens=NUM_OUTPUT)
    )
    reference = reference_model(folder)
    ended_early = 0
    for ids, output in zip(prompts, outputs, strict=True):
        prompt = torch.tensor([ids])
        whole = reference.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NUM_OUTPUT, do_sample=False
        )
        assert output.outputs[0].token_ids == whole[0, len(ids) :].tolist()
        ended_early += output.outputs[0].finish_reason == "stop"
    assert ended_early > 0, "some prompt must meet an end-of-sequence token"


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_bfloat16_stays_close_to_transformers_in_bfloat16(family, tmp_path, recorder):
    folder = write_checkpoint(tmp_path, family, dtype=torch.bfloat16, tokenizer=False)
    llm = LLM(folder)
    assert llm.info.dtype == "bfloat16"
    ids = mixed_prompts()[20]
    llm.generate({"prompt_token_ids": ids}, SamplingParams(temperature=0, max_tokens=1))
    with torch.inference_mode():
        expected = reference_model(folder, torch.bfloat16)(torch.tensor([ids])).logits[0, -1].float()
    ours = recorder.logits[tuple(ids)]
    assert ours.dtype == torch.float32
    assert (ours - expected).abs().max() < 0.15 * expected.std()
