"""A checkpoint that is damaged, incomplete or not for us is refused with what is wrong."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from metavox import LLM
from metavox.engine.documents import read_json
from metavox.engine.loader import load_decoder
from metavox.errors import InvalidArgument, InvalidCheckpoint, MetaVoxError, ModelNotFound, UnsupportedModel
from metavox.models.decoder import Decoder
from metavox.models.registry import read_config
from tests.checkpoints import one_cpu_thread, write_checkpoint, write_tokenizer


@pytest.fixture(scope="module", autouse=True)
def _one_cpu_thread():
    with one_cpu_thread():
        yield


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("good"), tokenizer=False)


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps(config))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refused(folder, error: type[MetaVoxError], message: str, **arguments):
    with pytest.raises(error, match=message):
        LLM(folder, **arguments)


@pytest.mark.parametrize("keep", [0, 4, 200, 100_000, -1])
def test_a_truncated_file_is_damaged(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, InvalidCheckpoint, "model.safetensors is damaged or no safetensors file.*fetch it again")


def test_a_file_of_something_else_is_damaged(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 9)
    refused(folder, InvalidCheckpoint, "damaged or no safetensors file")


def test_a_missing_tensor_is_named(folder):
    edit_tensors(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    refused(folder, InvalidCheckpoint, r"lacks 1 tensor\(s\).*model.layers.1.mlp.up_proj.weight")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder):
    edit_tensors(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(63)}))
    refused(folder, InvalidCheckpoint, r"model.norm.weight has the shape \[63\].*asks for \[64\]")


def test_a_tensor_that_the_config_does_not_account_for_is_named(folder):
    edit_tensors(folder, lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}))
    refused(folder, InvalidCheckpoint, "does not account for: model.layers.0.self_attn.q_proj.bias")


def test_what_a_tied_or_old_checkpoint_carries_beside_is_left_alone(tmp_path):
    folder = write_checkpoint(tmp_path, tie_word_embeddings=True, tokenizer=False)

    def carry(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)

    edit_tensors(folder, carry)
    assert LLM(folder).info.num_parameters > 0
    assert LLM(folder, dtype="bfloat16").info.num_parameters > 0


@pytest.mark.parametrize("head", [torch.ones(320, 64), torch.ones(3)])
def test_a_tied_checkpoint_with_another_output_matrix_is_refused(tmp_path, head):
    folder = write_checkpoint(tmp_path, tie_word_embeddings=True, tokenizer=False)
    edit_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": head}))
    refused(folder, InvalidCheckpoint, "lm_head.weight that is not the embedding table.*tie_word_embeddings")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_quantized_tensor_is_unsupported(folder, dtype):
    edit_tensors(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(64).to(dtype)}))
    refused(folder, UnsupportedModel, "model.norm.weight is stored as (int8|float8_e4m3fn); quantized")


def test_a_folder_without_weights_or_config_says_so(folder):
    (folder / "model.safetensors").unlink()
    refused(
        folder,
        InvalidCheckpoint,
        "neither model.safetensors nor model.safetensors.index.json; give a checkpoint that is stored",
    )
    (folder / "config.json").unlink()
    refused(folder, InvalidCheckpoint, "has no config.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '"x"', "\udc80", '{"a":' * 100_000, '{"a": 1' + "0" * 5000 + "}"],
    ids=["empty", "cut", "list", "string", "bytes", "deep", "large"],
)
def test_a_config_that_is_no_json_object_says_so(folder, text):
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(folder, InvalidCheckpoint, "config.json (cannot be read as JSON|must hold a JSON object)")


def sharded(tmp_path):
    return write_checkpoint(tmp_path, tokenizer=False, max_shard_size="100KB")


def test_a_missing_shard_is_named(tmp_path):
    folder = sharded(tmp_path)
    sorted(folder.glob("*.safetensors"))[0].unlink()
    refused(folder, InvalidCheckpoint, "lacks model-00001-of-.*which model.safetensors.index.json names")


def test_a_tensor_that_two_files_hold_is_named(tmp_path):
    folder = sharded(tmp_path)
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    tensors = load_file(first)
    name = sorted(tensors)[0]
    save_file({**load_file(second), name: tensors[name].clone()}, second)
    refused(folder, InvalidCheckpoint, f"does not account for: {name}")


def test_shards_give_the_model_that_one_file_gives(good, tmp_path):
    folder = sharded(tmp_path)
    assert len(list(folder.glob("*.safetensors"))) > 3
    config = read_config(read_json(good / "config.json"))
    one, many = (load_decoder(path, config, torch.float32, torch.device("cpu")) for path in (good, folder))
    rows = torch.arange(64)
    for a, b in zip(one.layers, many.layers, strict=True):
        pairs = [(a.self_attn.qkv_proj, b.self_attn.qkv_proj), (a.mlp.down_proj, b.mlp.down_proj)]
        assert all(
            torch.equal(x.weight.rows(rows, torch.float32), y.weight.rows(rows, torch.float32)) for x, y in pairs
        )


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", 5, "model.bin"])
def test_an_index_may_only_name_files_beside_it(tmp_path, name):
    folder = sharded(tmp_path)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    refused(folder, InvalidCheckpoint, "must map each tensor to the name of a file beside it")


def test_what_is_loaded_is_counted(good):
    raw = read_json(good / "config.json")
    tensors = load_file(good / "model.safetensors").values()
    decoder = load_decoder(good, read_config(raw), torch.float32, torch.device("cpu"))
    assert decoder.num_parameters == sum(tensor.numel() for tensor in tensors)
    assert decoder.nbytes == 4 * decoder.num_parameters


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "'MixtralForCausalLM' is not supported; these are: Gemma2"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config = .*awq"),
        ({"architectures": ["Qwen3MoeForCausalLM"], "use_sliding_window": True}, "use_sliding_window = True"),
        ({"architectures": ["LlamaForCausalLM"], "sliding_window": 64}, "sliding_window = 64"),
        (
            {"architectures": ["LlamaForCausalLM"], "use_bidirectional_attention": True},
            "use_bidirectional_attention",
        ),
        (
            {"architectures": ["Gemma3ForConditionalGeneration"]},
            "'Gemma3ForConditionalGeneration' is not supported",
        ),
        (
            {"architectures": ["Gemma3ForCausalLM"], "hidden_act": None, "attn_logit_softcapping": 50.0},
            "attn_logit_softcapping = 50.0",
        ),
        ({"architectures": ["Gemma2ForCausalLM"], "hidden_activation": "gelu"}, "hidden_activation = 'gelu'"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"num_experts": 8}, "num_experts = 8"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}},
            "'dynamic' is not supported; these are: default",
        ),
        ({"rope_parameters": None, "rope_scaling": {"type": "ntk", "factor": 2.0}}, "rope type 'ntk'"),
        ({"rope_parameters": {"rope_type": ["yarn"]}}, "rope type"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "rope_parameters that differ between"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"dtype": "float64"}, "dtype 'float64'"),
        ({"dtype": {"": "float32"}}, "dtype {'': 'float32'}"),
        ({"dtype": ["float32"]}, "dtype "),
        ({"layer_types": 5}, "layer_types = 5"),
        ({"layer_types": [["full_attention"]]}, "layer_types"),
        ({"rope_interleaved": True}, "rope_interleaved = True"),
        ({"logits_scaling": 8}, "logits_scaling = 8"),
        ({"residual_multiplier": 0.2}, "residual_multiplier = 0.2"),
        ({"embedding_multiplier": 12.0}, "embedding_multiplier = 12.0"),
        ({"attention_multiplier": 1.0}, "attention_multiplier = 1.0"),
        ({"use_mrope": True}, "use_mrope = True"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(folder, config, message):
    edit_config(folder, **config)
    refused(folder, UnsupportedModel, message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": None}, "architectures must be a list of one name"),
        ({"num_attention_heads": 0}, "num_attention_heads must be a positive integer, and is 0"),
        ({"vocab_size": None}, "vocab_size must be a positive integer, and is None"),
        ({"hidden_size": "64"}, "hidden_size must be a positive integer"),
        ({"num_key_value_heads": 3}, "must divide num_attention_heads"),
        ({"rms_norm_eps": -1}, "rms_norm_eps must be a positive number"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps must be a positive number, and is inf"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps must be a positive number"),
        ({"rope_parameters": {"rope_theta": float("inf")}}, "rope_theta must be a positive number, and is inf"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings must be true or false, and is 'false'"),
        ({"attention_bias": 1}, "attention_bias must be true or false"),
        ({"vocab_size": 10**30}, "vocab_size is 1000.*at most"),
        ({"hidden_size": 2**62}, "describes an impossible model"),
        ({"head_dim": 2**62}, "describes an impossible model"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is .* at most 10000"),
        ({"rope_parameters": [1]}, "rope_parameters must be an object"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 0}}, "factor must be a positive number, and is 0"),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 2, "rope_theta": 1}},
            "rope_theta must be more than 1",
        ),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2, "truncate": 1}}, "truncate must be true or false"),
        ({"rope_parameters": {"rope_type": "longrope", "short_factor": [1]}}, "short_factor must be a list of 8"),
        (
            {"use_sliding_window": True, "sliding_window": -1, "max_window_layers": 0, "layer_types": None},
            "sliding_window must be a positive integer",
        ),
        (
            {"use_sliding_window": True, "sliding_window": 9, "layer_types": ["full_attention"] * 2},
            "layer_types names 2 layers, and num_hidden_layers is 3",
        ),
        (
            {"architectures": ["Qwen3MoeForCausalLM"], "num_experts": 4, "num_experts_per_tok": 5},
            "num_experts_per_tok is 5, and can be at most 4",
        ),
        ({"architectures": ["Qwen3MoeForCausalLM"], "mlp_only_layers": ["a"]}, "mlp_only_layers must be a list"),
        ({"architectures": ["Phi3ForCausalLM"], "partial_rotary_factor": 0.2}, "no even part of 16 dimensions"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "factor must be a positive number"),
    ],
)
def test_an_impossible_config_is_refused(folder, config, message):
    edit_config(folder, **config)
    refused(folder, InvalidCheckpoint, message)


def test_qwen3_has_128_dimensions_a_head_where_config_json_is_silent(good):
    raw = {k: v for k, v in read_json(good / "config.json").items() if k != "head_dim"}
    assert read_config(raw).head_dim == 128
    assert read_config({**raw, "architectures": ["LlamaForCausalLM"]}).head_dim == 64 // 4


def test_the_rotary_table_is_no_longer_than_the_cache_or_the_context(folder, monkeypatch):
    edit_config(folder, max_position_embeddings=10**12)
    lengths = []
    prepare = Decoder.prepare

    def noted(decoder, length, device):
        prepare(decoder, length, device)
        lengths.extend({len(layer.self_attn.cos) for layer in decoder.layers})

    monkeypatch.setattr(Decoder, "prepare", noted)
    LLM(folder, num_kv_blocks=8)
    LLM(folder, num_kv_blocks=8, max_model_len=100)
    assert lengths == [8 * 16, 100]


def test_an_end_of_sequence_that_is_no_token_is_refused(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    refused(folder, InvalidCheckpoint, "eos_token_id must be a token id")


def test_a_broken_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, InvalidCheckpoint, "The tokenizer in .* cannot be loaded")


def test_a_tokenizer_that_was_asked_for_must_be_there(folder, tmp_path):
    for name in (tmp_path / "nowhere", "~nouser/x", "x" * 5000):
        refused(folder, ModelNotFound, "no tokenizer in", tokenizer=name)


def test_damage_elsewhere_is_not_blamed_on_the_tokenizer(folder):
    write_tokenizer(folder)
    (folder / "generation_config.json").unlink()
    edit_config(folder, eos_token_id=[[1]])
    refused(folder, InvalidCheckpoint, "eos_token_id must be a token id")
    (folder / "model.safetensors").write_bytes(b"")
    refused(folder, InvalidCheckpoint, "model.safetensors is damaged")


class InBytes:
    """A path whose name is bytes."""

    def __fspath__(self):
        return b"/tmp"


def test_a_path_in_bytes_is_refused_by_name(folder):
    refused(InBytes(), InvalidArgument, "model must be a hub id or a folder")
    refused(folder, InvalidArgument, "tokenizer must be a folder", tokenizer=InBytes())


def test_the_old_spelling_of_the_rotary_settings_is_read_alike(folder):
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    new = {"rope_type": "llama3", "rope_theta": 5e5, "original_max_position_embeddings": 64, **scaling}
    raw = json.loads((folder / "config.json").read_text())
    old = {k: v for k, v in new.items() if k != "rope_theta"}
    read = [
        read_config({**raw, "rope_parameters": new}).layers,
        read_config({**raw, "rope_parameters": None, "rope_theta": 5e5, "rope_scaling": old}).layers,
    ]
    assert read[0] == read[1]
    assert read[0][0].rope.scaling is not None


@pytest.mark.parametrize("nested", [False, True], ids=["qwen3", "gemma3"])
def test_rotary_settings_that_contradict_each_other_are_refused(folder, nested):
    used = {"rope_type": "default", "rope_theta": 1e6}
    raw = {**json.loads((folder / "config.json").read_text()), "rope_parameters": used}
    if nested:
        kinds = {"full_attention": used, "sliding_attention": used}
        raw |= {"architectures": ["Gemma3ForCausalLM"], "rope_parameters": kinds, "sliding_window": 8}
        raw["hidden_act"] = None
    assert read_config(raw) == read_config({**raw, "rope_scaling": {"type": "default"}})
    with pytest.raises(InvalidCheckpoint, match="rope_scaling says rope_type = 'yarn', and rope_"):
        read_config({**raw, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, "dtype must be one of auto, float32"),
        ({"device": "gpu"}, "device 'gpu' is not supported; use auto, cpu, cuda, cuda:1 or mps"),
        ({"device": "cuda:x"}, "device 'cuda:x' is not available"),
        ({"device": "meta"}, "device 'meta' is not supported"),
        ({"max_model_len": 257}, r"max_model_len \(257\) is more than the model's context of 256"),
        ({"max_model_len": 0}, "max_model_len must be a positive integer"),
        ({"max_model_len": 10**5000}, "max_model_len must be a positive integer below"),
        ({"num_kv_blocks": 10**30}, "num_kv_blocks must be a positive integer below"),
        ({"kv_cache_memory_bytes": 10**30}, "kv_cache_memory_bytes must be a positive integer below"),
        ({"kv_cache_memory_bytes": 2**62}, "no memory for a KV cache"),
        ({"num_kv_blocks": 2**62}, "no memory for a KV cache"),
        ({"gpu_memory_utilization": 10**400}, "gpu_memory_utilization must be in"),
        ({"tokenizer": 5}, "tokenizer must be a folder, and is 5"),
        ({"revision": 5}, "revision must be a branch, tag or commit, and is 5"),
        ({"revision": "main"}, "revision='main'.*only a model on the hub has revisions"),
        ({"dtype": {"float32"}}, "dtype must be one of auto, float32"),
        ({"max_num_seqs": True}, "max_num_seqs must be a positive integer"),
        ({"max_num_seqs": 8, "max_num_batched_tokens": 7}, "must be at least max_num_seqs"),
        ({"max_num_seqs": 2**40}, "max_num_seqs can be at most 65536"),
        ({"max_num_batched_tokens": 2**40}, "max_num_batched_tokens can be at most 1048576"),
        ({"num_kv_blocks": 3, "kv_cache_memory_bytes": 5}, "give one"),
        ({"kv_cache_memory_bytes": 100}, "room for 0 blocks"),
        ({"num_kv_blocks": 3, "max_model_len": 100}, "room for 3 blocks .* needs 7"),
        ({"num_kv_blocks": 10**12}, "no memory for a KV cache"),
        ({"gpu_memory_utilization": 1.5}, r"gpu_memory_utilization must be in \(0, 1\]"),
        ({"seed": "x"}, "seed must be an integer"),
    ],
)
def test_a_setting_out_of_range_is_refused(good, arguments, message):
    refused(good, InvalidArgument, message, **arguments)


def test_weights_that_the_device_cannot_hold_are_refused(good, monkeypatch):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("metavox.engine.build.load_decoder", full)
    refused(good, InvalidArgument, "no memory for the weights; choose a smaller model or dtype, or another device")


def test_dtype_is_the_checkpoints_own_unless_asked_otherwise(tmp_path):
    folder = write_checkpoint(tmp_path, dtype=torch.bfloat16, tokenizer=False)
    assert LLM(folder).info.dtype == "bfloat16"
    assert LLM(folder, dtype="float32").info.dtype == "float32"
    assert LLM(folder, dtype="float16").info.dtype == "float16"
    assert LLM(folder, dtype="half").info.dtype == "float16"
    assert LLM(folder, dtype=torch.float32).info.dtype == "float32"
    edit_config(folder, dtype=None, torch_dtype="float16")
    assert LLM(folder).info.dtype == "float16"
    edit_config(folder, torch_dtype=None)
    assert LLM(folder).info.dtype == "float32"
