"""The same tokens and logits as transformers, on random weights of both families, in float32."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from metavox import LLM, SamplingParams
from metavox.engine.scheduler import Slice
from tests.checkpoints import one_cpu_thread, write_checkpoint

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# Each seed is the first whose 384 choices are all clear by 1e-3: float32 sums in another order differ by 1e-5,
# and where two logits are nearer than that, neither choice is the right one.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", {"seed": 0}),
    "qwen3-tied-wide-heads": ("qwen3", {"seed": 0, "tie_word_embeddings": True, "head_dim": 32}),
    "qwen3-bias": ("qwen3", {"seed": 0, "attention_bias": True, "num_key_value_heads": 1}),
    "llama": ("llama", {"seed": 1}),
    "llama-tied-no-groups": ("llama", {"seed": 0, "tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama-rope-scaling": ("llama", {"seed": 5, "rope_parameters": LLAMA3_ROPE}),
    "llama-biases": ("llama", {"seed": 3, "attention_bias": True, "mlp_bias": True}),
}
NUM_OUTPUT = 12
GREEDY = SamplingParams(temperature=0, max_tokens=NUM_OUTPUT, ignore_eos=True)


class Recorder:
    """A runner that keeps the logits it hands on."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.logits: dict[str, list[torch.Tensor]] = {}

    def run(self, plan: list[Slice]) -> torch.Tensor:
        logits: torch.Tensor = self.runner.run(plan)
        sampled = [piece.sequence.request_id for piece in plan if piece.is_last]
        for name, row in zip(sampled, logits, strict=True):
            self.logits.setdefault(name, []).append(row.clone())
        return logits

    def memory_bytes(self) -> int:
        return int(self.runner.memory_bytes())


def mixed_prompts() -> list[list[int]]:
    """32 prompts: every length from 1 up, some longer than a step of 64 tokens, one as long as it may be."""
    draw = random.Random(5)
    lengths = [*range(1, 24), 31, 32, 33, 47, 64, 65, 100, 150, 256 - NUM_OUTPUT]
    return [[draw.randrange(320) for _ in range(length)] for length in lengths]


@pytest.fixture(scope="module", autouse=True)
def _one_cpu_thread():
    with one_cpu_thread():
        yield


@pytest.fixture(scope="module", params=VARIANTS)
def checkpoint(request, tmp_path_factory):
    family, config = VARIANTS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return write_checkpoint(folder, family, tokenizer=False, **config)


def reference_model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


@torch.inference_mode()
def test_thirty_two_mixed_prompts_give_the_tokens_and_logits_of_transformers(checkpoint):
    llm = LLM(checkpoint, max_num_seqs=9, max_num_batched_tokens=64, dtype="float32", device="cpu")
    recorder = llm._engine.runner = Recorder(llm._engine.runner)
    prompts = mixed_prompts()
    assert len(prompts) == 32
    outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], GREEDY)
    reference = reference_model(checkpoint)
    for ids, output in zip(prompts, outputs, strict=True):
        tokens = output.outputs[0].token_ids
        # Fed with our tokens, transformers must choose each of them: then it would have written the same.
        expected = reference(torch.tensor([ids + tokens[:-1]])).logits[0, len(ids) - 1 :]
        assert tokens == expected.argmax(-1).tolist()
        ours = torch.stack(recorder.logits[output.request_id])
        assert ours.shape == expected.shape == (NUM_OUTPUT, 320)
        assert (ours - expected).abs().max() <= 1e-4
        assert expected.std() > 0.5, "logits all alike would prove nothing"
        first, second = expected.topk(2).values.unbind(-1)
        assert (first - second).min() > 1e-3, "a near tie would make the tokens a matter of luck"


@pytest.mark.parametrize(("family", "seed"), [("qwen3", 0), ("llama", 1)])
def test_generate_of_transformers_writes_the_same(family, seed, tmp_path):
    folder = write_checkpoint(tmp_path, family, tokenizer=False, eos_token_id=[2, 9], seed=seed)
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
    assert ended_early > 0, "the seed is chosen so that some prompt meets an end-of-sequence token"


def test_bfloat16_stays_close_to_transformers_in_bfloat16(tmp_path):
    folder = write_checkpoint(tmp_path, dtype=torch.bfloat16, tokenizer=False)
    llm = LLM(folder)
    assert llm.info.dtype == "bfloat16"
    recorder = llm._engine.runner = Recorder(llm._engine.runner)
    ids = mixed_prompts()[20]
    output = llm.generate({"prompt_token_ids": ids}, SamplingParams(temperature=0, max_tokens=1))
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    with torch.inference_mode():
        expected = reference(torch.tensor([ids])).logits[0, -1].float()
    ours = recorder.logits[output.request_id][0].float()
    assert (ours - expected).abs().max() < 0.15 * expected.std()
