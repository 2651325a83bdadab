"""The arithmetic of ``tests/bench/engine_cpu.py``: what is divided by what."""

from __future__ import annotations

import struct

import pytest

from tests.bench.engine.checkpoint import write_checkpoint
from tests.bench.engine.features import overlap
from tests.bench.engine.gguf import tensor_name, write_gguf
from tests.bench.engine.limits import Limits
from tests.bench.engine.quiet import watch_others
from tests.bench.engine.shape import QWEN3_0_6B, Shape
from tests.bench.engine.speed import Prompts, Speed, Workload, best, steady_decode, take_turns
from tests.bench.engine.targets import TARGETS, read_targets

SMALL = Shape(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    intermediate_size=96,
    vocab_size=512,
)


def test_the_shape_is_that_of_qwen3_0_6b():
    assert QWEN3_0_6B.layer_parameters + QWEN3_0_6B.head_parameters == 595_984_384
    assert QWEN3_0_6B.weight_bytes() == pytest.approx(1.192e9, rel=1e-3)
    assert QWEN3_0_6B.kv_bytes(1) == 114_688
    assert QWEN3_0_6B.weight_bytes("int8", "int8") == pytest.approx(QWEN3_0_6B.weight_bytes() * 8.5 / 16)


def test_a_written_checkpoint_has_the_bytes_of_its_shape(tmp_path):
    folder = write_checkpoint(tmp_path / "random", SMALL)
    norms = 2 * (SMALL.num_hidden_layers * (2 * 64 + 2 * 16) + 64)
    header = 8 + int.from_bytes((folder / "model.safetensors").read_bytes()[:8], "little")
    assert (folder / "model.safetensors").stat().st_size - header == SMALL.weight_bytes() + norms


def test_the_looping_checkpoint_repeats_two_tokens_and_the_random_one_does_not(tmp_path):
    from metavox import LLM, SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    tokens = {}
    for name in ("looping", "random"):
        folder = write_checkpoint(tmp_path / name, SMALL, looping=name == "looping")
        with LLM(folder, device="cpu", max_model_len=64) as llm:
            tokens[name] = llm.generate({"prompt_token_ids": [300, 401]}, greedy).outputs[0].token_ids
    assert tokens["looping"] == [400, 401] * 6
    assert len(set(tokens["random"])) > 2


def test_transformers_reads_the_same_greedy_tokens_from_the_checkpoint(tmp_path):
    import torch

    from tests.bench.engine.ours import MetaVox
    from tests.bench.engine.transformers_peer import Transformers

    folder = write_checkpoint(tmp_path / "looping", SMALL, looping=True)
    peer = Transformers("transformers", folder, torch.float32)
    ours = MetaVox("metavox", folder, max_model_len=64)
    workload, prompts = Workload(2, 5, 6), [[300, 301, 302, 303, 304], [400, 401, 402, 403, 405]]
    assert all(rate > 0 for engine in (peer, ours) for rate in vars(engine.measure(workload, prompts)).values())
    with torch.inference_mode():
        theirs = peer._model.generate(torch.tensor(prompts), max_new_tokens=6, do_sample=False, pad_token_id=0)
    assert theirs[:, 5:].tolist() == [output.outputs[0].token_ids for output in ours.generate(prompts, 6)]
    ours.close()


def test_a_step_is_bound_by_bytes_alone_and_by_products_in_a_crowd():
    limits = Limits(bytes_per_second=1e9, flops_per_second=1e11)
    one = limits.decode_seconds(QWEN3_0_6B, 1, 0)
    assert one == pytest.approx(QWEN3_0_6B.weight_bytes() / 1e9)
    crowd = limits.decode_seconds(QWEN3_0_6B, 1000, 0)
    assert crowd == pytest.approx(2 * 1000 * 595_984_384 / 1e11)
    assert limits.decode_seconds(QWEN3_0_6B, 1, 1000) - one == pytest.approx(114_688_000 / 1e9)


def test_a_prefill_needs_the_output_matrix_once_a_prompt():
    limits = Limits(bytes_per_second=1e15, flops_per_second=1.0)
    pairs = 4 * 2 * 64 * (1 + 2 + 3)
    products = 2 * (3 * SMALL.layer_parameters + SMALL.head_parameters)
    assert limits.prefill_seconds(SMALL, 1, 3) == pytest.approx(products + pairs)


def test_decode_counts_only_while_all_sequences_run():
    early, late = [0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]
    assert steady_decode([early, late]) == pytest.approx(4 / 2)
    with pytest.raises(ValueError, match="more output tokens"):
        steady_decode([[0.0, 1.0], [1.0, 2.0]])


def test_the_best_of_the_rounds_is_taken_for_each_rate_by_itself():
    rounds = [{"prefill": 5.0, "decode": 1.0}, {"prefill": 4.0, "decode": 2.0}]
    assert best(rounds, 8) == {"prefill": 5.0, "decode": 2.0, "tpot": 4.0}


class Fixed:
    def __init__(self, name, *speeds):
        self.name = name
        self.speeds = list(speeds)

    def measure(self, workload, prompts):
        assert len(prompts) == workload.num_seqs
        speed = self.speeds.pop(0)
        if speed is None:
            raise RuntimeError("it broke")
        return speed


def test_contenders_take_turns_and_one_that_breaks_spoils_no_other():
    said = []
    contenders = [Fixed("steady", Speed(1, 2), Speed(3, 1)), Fixed("broken", None)]
    records = take_turns(contenders, [Workload(2, 4, 4)], Prompts(512), rounds=2, patience=0, progress=said.append)
    assert [text.split(",")[0] for text in said] == ["steady", "broken", "steady"]
    steady, broken = records
    assert (steady["prefill"], steady["decode"], steady["tpot"]) == (3, 2, 1)
    assert broken["error"] == "RuntimeError: it broke"


def test_no_two_prompts_are_the_same():
    prompts = Prompts(512)
    drawn = [tuple(ids) for _ in range(4) for ids in prompts.draw(3, 8)]
    assert len(set(drawn)) == 12
    assert all(300 <= token < 512 for ids in drawn for token in ids)


def test_only_what_lies_within_the_window_counts_as_the_models_time():
    assert overlap([(0.0, 2.0), (3.0, 4.0), (5.0, 9.0)], (1.0, 6.0)) == pytest.approx(1 + 1 + 1)


def test_own_work_is_not_taken_for_that_of_others():
    with watch_others() as others:
        sum(range(3_000_000))
    assert others.value is None or 0 <= others.value <= 1


def test_every_target_reads_its_ratio_from_a_runs_results():
    def records(*engines):
        return [
            {"engine": name, "num_seqs": num_seqs, "prefill": rate * 10, "decode": rate}
            for num_seqs in (1, 8, 32)
            for name, rate in engines
        ]

    results = {
        "limits": {"steps": [{"num_seqs": n, "decode": 50.0} for n in (1, 8, 32)]},
        "speed": records(("metavox bf16", 40.0), ("transformers bf16", 10.0), ("llama.cpp bf16", 20.0)),
        "quantized": records(
            ("metavox bf16", 20.0),
            ("metavox int8 + head", 60.0),
            ("metavox int4 + head", 90.0),
            ("llama.cpp Q8_0", 30.0),
            ("llama.cpp Q4_0", 100.0),
            ("llama.cpp Q4_0 --pure", 90.0),
        ),
        "prefix": {"computed_tokens": 10, "distinct_tokens": 10, "seconds": 3.0, "unshared_seconds": 2.0},
        "speculative": {"loop": {"plain": 2.0, "drafted": 6.0}},
        "overhead": {"outside": 0.04},
        "load": {"cold": {"llm": 2.0, "read": 2.0}, "peak": 12.0, "weights": 6.0, "kv": 4.0},
        "ready": {"best": 2.0},
    }
    read = {one["claim"]: one for one in read_targets(results)}
    assert len(read) == len(TARGETS)
    assert read["bf16, 1 sequence: decode / transformers"]["value"] == 4.0
    assert read["int8, 1 sequence: decode / our bf16"]["value"] == 3.0  # both of the same section
    assert read["bf16, 32 sequences: time per output token / limit"]["value"] == 1.25
    assert not read["int4, 1 sequence: decode / llama.cpp Q4_0"]["reached"]
    assert not read["shared prefix: time / as many tokens that share nothing"]["reached"]
    assert read["peak memory / weights and KV cache"]["reached"]
    assert read_targets({}) == []


def test_a_gguf_file_says_how_much_follows_and_ends_aligned(tmp_path):
    path = write_gguf(tmp_path / "small.gguf", write_checkpoint(tmp_path / "random", SMALL), SMALL)
    data = path.read_bytes()
    magic, version, tensors, pairs = struct.unpack("<4sIQQ", data[:24])
    assert (magic, version, tensors, pairs) == (b"GGUF", 3, 2 + 11 * SMALL.num_hidden_layers, 15)
    assert len(data) % 32 == 0
    assert tensor_name("model.layers.7.self_attn.o_proj.weight") == "blk.7.attn_output.weight"
