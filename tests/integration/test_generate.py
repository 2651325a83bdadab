"""LLM.generate: what may be asked, in what forms, and what comes back."""

from __future__ import annotations

import dataclasses
import json
import shutil
from itertools import pairwise

import pytest
import torch

from metavox import LLM, RequestOutput, SamplingParams
from metavox.config import NEUTRAL
from metavox.errors import InvalidArgument, InvalidRequest, NonFiniteLogits, UnknownArgument
from tests.checkpoints import write_checkpoint, write_tokenizer
from tests.integration.shared import GREEDY, assert_idle, some_prompts, token_ids

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def llm(folder):
    return LLM(folder)


def test_a_string_gives_one_output_whose_str_is_its_text(llm):
    output = llm.generate("Hello world")
    assert isinstance(output, RequestOutput)
    assert str(output) == output.outputs[0].text
    assert output.prompt == "Hello world"
    assert output.prompt_token_ids == llm.get_tokenizer().encode("Hello world")
    assert output.finished


def test_a_list_gives_a_list_in_its_order(llm):
    outputs = llm.generate(["Hello", {"prompt": "the"}, {"prompt_token_ids": [3, 4, 5]}], GREEDY)
    assert [output.prompt for output in outputs] == ["Hello", "the", None]
    assert outputs[2].prompt_token_ids == [3, 4, 5]
    assert token_ids(outputs)[1] == llm.generate("the", GREEDY).outputs[0].token_ids
    assert llm.generate([]) == []


def test_parameters_can_be_given_one_for_each_prompt(llm):
    each = [SamplingParams(max_tokens=n, ignore_eos=True) for n in (1, 2, 3)]
    assert [len(ids) for ids in token_ids(llm.generate(["a", "b", "c"], each))] == [1, 2, 3]


def test_a_folder_without_a_tokenizer_takes_ids_and_no_text(tmp_path):
    bare = LLM(str(write_checkpoint(tmp_path, "llama", tokenizer=False)))
    output = bare.generate({"prompt_token_ids": [5, 6]}, GREEDY)
    assert len(output.outputs[0].token_ids) == 8
    assert output.outputs[0].text == ""
    with pytest.raises(InvalidRequest, match=r"no tokenizer.*prompt_token_ids"):
        bare.generate("text")
    with pytest.raises(InvalidRequest, match=r"stop_token_ids"):
        bare.generate({"prompt_token_ids": [5]}, SamplingParams(stop="x"))


def test_the_bundled_model_writes_text():
    bundled = LLM("metavox/tiny")
    assert bundled.info.model_id == "metavox/tiny"
    assert bundled.info.dtype == "float32"
    assert len(str(bundled.generate("Once upon a time", SamplingParams(temperature=0, max_tokens=24)))) > 20


def test_the_bundled_model_gives_the_same_text_alone_and_among_others():
    bundled, params = LLM("metavox/tiny"), SamplingParams(temperature=0.8, seed=3, max_tokens=32)
    prompts = [f"Once upon a time there was a {animal}" for animal in ("fox", "dog", "cat", "bird", "bear", "duck")]
    together = bundled.generate(prompts, params)
    assert list(map(str, together)) == [str(bundled.generate(prompt, params)) for prompt in prompts]


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(seed=7, max_tokens=12, top_k=50, top_p=0.95)])
def test_batched_and_one_by_one_give_the_same_tokens(llm, params):
    prompts = some_prompts()
    together = token_ids(llm.generate(prompts, params))
    assert together == token_ids([llm.generate(prompt, params) for prompt in prompts])


def test_a_seed_makes_a_request_repeatable_and_another_seed_another(llm):
    texts = [
        llm.generate("the", SamplingParams(seed=seed, max_tokens=12)).outputs[0].token_ids for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_without_a_seed_requests_differ_and_the_llms_seed_repeats_them(folder):
    params = SamplingParams(max_tokens=12)
    runs = [token_ids(LLM(folder, seed=seed).generate(["the", "the"], params)) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] != runs[0][1]


def test_a_refused_call_does_not_change_what_the_next_one_draws(folder):
    params = SamplingParams(max_tokens=12)
    undisturbed, disturbed = LLM(folder), LLM(folder)
    with pytest.raises(InvalidRequest):
        disturbed.generate(["the", ""], params)
    assert token_ids([disturbed.generate("the", params)]) == token_ids([undisturbed.generate("the", params)])


def test_end_of_sequence_may_be_any_of_a_list_in_generation_config(tmp_path):
    llm = LLM(write_checkpoint(tmp_path, generation={"eos_token_id": [11, 2]}))
    prompt = {"prompt_token_ids": [5, 6, 7]}
    free = llm.generate(prompt, SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)).outputs[0]
    (tmp_path / "generation_config.json").write_text(f'{{"eos_token_id": [2, {free.token_ids[4]}]}}')
    output = LLM(tmp_path).generate(prompt, SamplingParams(temperature=0, max_tokens=8)).outputs[0]
    assert output.finish_reason == "stop"
    assert output.token_ids == free.token_ids[: free.token_ids.index(free.token_ids[4]) + 1]


def test_end_of_sequence_comes_from_config_json_where_there_is_no_generation_config(tmp_path):
    write_checkpoint(tmp_path, eos_token_id=9)
    (tmp_path / "generation_config.json").unlink()
    assert LLM(tmp_path)._driver.engine.checks.defaults.eos_token_ids == {9}


def test_end_of_sequence_is_the_tokenizers_where_no_config_names_one(tmp_path):
    write_checkpoint(tmp_path, eos_token_id=None, generation={})
    assert LLM(tmp_path)._driver.engine.checks.defaults.eos_token_ids == {2}


def test_a_stop_string_ends_a_real_generation(llm):
    free = llm.generate("the", SamplingParams(temperature=0, max_tokens=30, ignore_eos=True)).outputs[0].text
    stop = next(free[at : at + 2] for at in range(4, len(free) - 2) if "\ufffd" not in free[at : at + 2])
    cut = llm.generate("the", SamplingParams(temperature=0, max_tokens=30, ignore_eos=True, stop=[stop]))
    assert cut.outputs[0].text == free[: free.index(stop)]
    assert (cut.outputs[0].finish_reason, cut.outputs[0].stop_reason) == ("stop", stop)


def test_min_tokens_keeps_the_end_of_sequence_away(tmp_path):
    llm = LLM(write_checkpoint(tmp_path, generation={"eos_token_id": list(range(300))}))
    params = {"temperature": 0, "max_tokens": 9}
    assert len(llm.generate("the", SamplingParams(**params)).outputs[0].token_ids) == 1
    held = llm.generate("the", SamplingParams(**params, min_tokens=6)).outputs[0].token_ids
    assert len(held) >= 6
    assert all(token >= 300 for token in held[:6])


def test_min_tokens_is_refused_where_every_token_ends_the_output(llm):
    everything = SamplingParams(min_tokens=1, stop_token_ids=[n for n in range(320) if n != 2])
    with pytest.raises(InvalidRequest, match=r"min_tokens cannot be reached"):
        llm.generate("the", everything)
    assert llm.generate("the", dataclasses.replace(everything, ignore_eos=True)).finished


@pytest.mark.parametrize(
    "extreme",
    [{"top_p": 1e-50}, {"temperature": 1e6, "min_tokens": 4}, {"temperature": 1e-300}, {"top_k": 2**63 - 1}],
)
def test_extreme_values_that_are_accepted_can_be_sampled_with(llm, extreme):
    assert len(llm.generate("the", SamplingParams(**extreme, ignore_eos=True)).outputs[0].token_ids) == 16


def test_an_end_of_sequence_outside_the_vocabulary_never_comes(tmp_path):
    llm = LLM(write_checkpoint(tmp_path, generation={"eos_token_id": [2, 320, 10**30]}))
    assert llm._driver.engine.checks.defaults.eos_token_ids == {2}
    assert llm.generate("the", SamplingParams(max_tokens=4, min_tokens=4)).finished


def spoil(llm: LLM, monkeypatch: pytest.MonkeyPatch, value: float, token: int = 7) -> None:
    """After a prompt's last token 9, the model computes nonsense."""
    model = llm._driver.engine.runner.model
    forward, logits, rows = model.forward, model.logits, []

    def noted(ids, positions, caches, batch):
        rows.append((ids == 9).nonzero().flatten())
        return forward(ids, positions, caches, batch)

    def spoiled(hidden):
        found = logits(hidden)
        if len(rows[-1]):
            found[rows[-1].clamp_max(len(found) - 1), token] = value
        return found

    monkeypatch.setattr(model, "forward", noted)
    monkeypatch.setattr(model, "logits", spoiled)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("params", [GREEDY, SamplingParams(seed=1, max_tokens=8)])
def test_logits_that_are_no_numbers_end_their_request_alone(folder, monkeypatch, value, params):
    llm = LLM(folder)
    prompts = [{"prompt_token_ids": [at]} for at in (5, 9, 6)]
    alone = [llm.generate(prompts[at], params) for at in (0, 2)]
    spoil(llm, monkeypatch, value)
    with pytest.raises(NonFiniteLogits, match=r"float32 for prompt 1; its weights may be damaged") as caught:
        llm.generate(prompts, params)
    first, failed, last = (output.outputs[0] for output in caught.value.outputs)
    assert [first.token_ids, last.token_ids] == token_ids(alone)
    assert (failed.finish_reason, failed.token_ids, failed.text) == ("error", [], "")
    metrics = caught.value.outputs[1].metrics
    assert 0 <= metrics.time_in_queue <= metrics.time_to_first_token <= metrics.request_duration
    assert_idle(llm)


def test_float16_that_overflows_is_told_what_to_do(folder, monkeypatch):
    llm = LLM(folder, dtype="float16")
    spoil(llm, monkeypatch, float("nan"))
    with pytest.raises(NonFiniteLogits, match="NaN or infinity in float16 for prompt 0; use dtype='bfloat16' or"):
        llm.generate({"prompt_token_ids": [9]}, GREEDY)


def test_output_ends_where_the_context_does(folder):
    llm = LLM(folder, max_model_len=20)
    output = llm.generate({"prompt_token_ids": [5] * 15}, SamplingParams(max_tokens=50, ignore_eos=True))
    assert len(output.outputs[0].token_ids) == 5
    assert output.outputs[0].finish_reason == "length"


def test_without_max_tokens_output_goes_on_to_the_end_of_the_context(folder):
    llm = LLM(folder, max_model_len=40)
    output = llm.generate({"prompt_token_ids": [5] * 15}, SamplingParams(max_tokens=None, ignore_eos=True))
    assert len(output.outputs[0].token_ids) == 25


def test_fewer_tokens_a_step_than_sequences_by_default_are_fewer_sequences(folder):
    llm = LLM(folder, max_num_batched_tokens=2)
    assert llm.generate(["the", "one", "and"], GREEDY)[0].metrics.max_concurrency <= 2


def test_without_parameters_the_checkpoints_own_are_taken(tmp_path):
    generation = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "max_new_tokens": 5, "eos_token_id": 2}
    llm = LLM(write_checkpoint(tmp_path, generation=generation))
    expected = SamplingParams(temperature=0.6, top_k=20, top_p=0.95, max_tokens=5)
    assert llm.get_default_sampling_params() == expected
    assert len(llm.generate("the").outputs[0].token_ids) <= 5


def test_a_checkpoint_that_does_not_sample_is_greedy(tmp_path):
    llm = LLM(write_checkpoint(tmp_path, generation={"do_sample": False, "temperature": 0.6, "top_k": 20}))
    assert llm.get_default_sampling_params().temperature == 0


def test_the_checkpoints_stops_and_lengths_are_honoured(tmp_path):
    generation = {"min_new_tokens": 2, "max_new_tokens": 7, "stop_strings": ["x"], "max_length": 9}
    llm = LLM(write_checkpoint(tmp_path, generation=generation))
    assert llm.get_default_sampling_params() == SamplingParams(max_tokens=7, min_tokens=2, stop=["x"])
    (tmp_path / "generation_config.json").write_text('{"max_length": 9}')
    short = LLM(tmp_path)
    output = short.generate({"prompt_token_ids": [5] * 6})
    assert (len(output.outputs[0].token_ids), output.outputs[0].finish_reason) == (3, "length")
    with pytest.raises(InvalidRequest, match=r"context of 9 tokens \(max_length of .*generation_config.json"):
        short.generate({"prompt_token_ids": [5] * 9})
    assert short.generate({"prompt_token_ids": [5] * 9}, GREEDY).finished


@pytest.mark.parametrize(
    "generation",
    [
        {"penalty_alpha": 0.6},
        {"encoder_repetition_penalty": 1.2},
        {"presence_penalty": 50},
        {"length_penalty": 2.0},
        {"num_return_sequences": 2},
        {"temperature": -1},
        {"top_p": 10**400},
        {"max_new_tokens": 4, "min_new_tokens": 5},
    ],
)
def test_what_the_checkpoint_asks_and_we_cannot_do_names_its_file(tmp_path, folder, generation):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    with pytest.raises(InvalidRequest, match=r"generation_config.json.*ass sampling_params explicitly"):
        LLM(tmp_path).generate("the")


def test_the_checkpoints_penalties_and_forbidden_tokens_are_honoured(tmp_path):
    generation = {"repetition_penalty": 1.5, "min_p": 0.1, "suppress_tokens": [7], "bad_words_ids": [[8, 9]]}
    llm = LLM(write_checkpoint(tmp_path, generation=generation))
    assert llm.get_default_sampling_params() == SamplingParams(
        repetition_penalty=1.5, min_p=0.1, bad_words=[[8, 9], [7]]
    )
    output = llm.generate({"prompt_token_ids": [5, 6]}).outputs[0].token_ids
    assert 7 not in output
    assert (8, 9) not in pairwise(output)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_sharded_checkpoint_gives_the_same_as_a_single_file(tmp_path, family):
    single = write_checkpoint(tmp_path / "single", family)
    shards = write_checkpoint(tmp_path / "shards", family, max_shard_size="100KB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    outputs = [LLM(each).generate("Hello", GREEDY).outputs[0].token_ids for each in (single, shards)]
    assert outputs[0] == outputs[1]


def test_metrics_say_how_it_went(llm):
    outputs = llm.generate(["the", "one", "and"], GREEDY)
    for metrics in (output.metrics for output in outputs):
        assert metrics.max_concurrency == 3
        assert metrics.num_prompt_tokens > 0
        assert metrics.num_generation_tokens == 8
        assert 0 <= metrics.time_in_queue <= metrics.time_to_first_token <= metrics.request_duration
        assert metrics.output_tokens_per_second == pytest.approx(1 / metrics.time_per_output_token)
        assert metrics.device_memory_bytes >= 4 * llm.info.num_parameters


def test_info_says_what_is_loaded(llm, folder):
    info = llm.info
    assert (info.requested_model, info.model_id) == (str(folder), None)
    assert (info.architecture, info.dtype, info.device) == ("Qwen3ForCausalLM", "float32", "cpu")
    assert (info.engine, info.quantization) == ("metavox", None)
    stored = sum(torch.Size(shape).numel() for shape in _stored_shapes(folder))
    assert info.num_parameters == stored


def _stored_shapes(folder):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118


def test_the_special_tokens_that_a_tokenizer_adds_are_part_of_the_prompt(folder, tmp_path):
    write_tokenizer(tmp_path, add_bos=True)
    output = LLM(folder, tokenizer=tmp_path).generate("the", GREEDY)
    bare = LLM(folder).generate("the", GREEDY)
    assert output.prompt_token_ids == [1, *bare.prompt_token_ids]


def test_the_models_own_name_is_a_name_for_its_tokenizer():
    bundled = LLM("metavox/tiny", tokenizer="metavox/tiny")
    assert bundled.generate("The cat", GREEDY).prompt_token_ids == bundled.get_tokenizer().encode("The cat")


def test_an_empty_text_is_a_prompt_where_the_tokenizer_begins_it(folder, tmp_path):
    write_tokenizer(tmp_path, add_bos=True)
    output = LLM(folder, tokenizer=tmp_path).generate("", GREEDY)
    assert (output.prompt, output.prompt_token_ids) == ("", [1])


def test_nothing_is_printed_where_there_is_no_terminal(llm, capfd):
    llm.generate(["a", "b"], GREEDY)
    assert capfd.readouterr() == ("", "")


BAD_PROMPTS = [
    ("", "prompt is empty"),
    ({"prompt": ""}, "prompt is empty"),
    ({"prompt_token_ids": []}, "prompt is empty"),
    ({"prompt_token_ids": [3, 320]}, "320 is outside the model's vocabulary, 0 to 319"),
    ({"prompt_token_ids": [-1]}, "-1 is outside"),
    ({"prompt_token_ids": [1.5]}, "must hold integers"),
    ({"prompt_token_ids": [True]}, "must hold integers"),
    ({"prompt_token_ids": [torch.tensor(2.5)]}, "must hold integers"),
    ({"prompt_token_ids": [10**5000]}, "a very large int is outside"),
    ({"prompt_token_ids": "abc"}, "must be a list of integers"),
    ({"prompt_token_ids": [4] * 256}, r"256 tokens.*context of 256 tokens \(max_model_len\)"),
    ({"prompt_tokens": [1]}, "does not know 'prompt_tokens'. Did you mean 'prompt_token_ids'"),
    ({}, "exactly one of"),
    ({"prompt": "a", "prompt_token_ids": [1]}, "exactly one of"),
    ({"prompt": 5}, "must be a string"),
    ([1, 2, 3], "bare list of token ids"),
    ([[1, 2], [3]], "a list; give token ids as"),
    ([["one", "two"]], "Only LLM.generate takes several prompts"),
    (["fine", None], "Prompt 1: .*NoneType"),
    (5, "must be a string, a dict or a list"),
    (b"bytes", "must be a string, a dict or a list"),
    ("\ud800", "no valid Unicode"),
]


@pytest.mark.parametrize(("prompt", "message"), BAD_PROMPTS, ids=[message for _, message in BAD_PROMPTS])
def test_a_bad_prompt_is_refused_with_what_is_wrong(llm, prompt, message):
    with pytest.raises(InvalidRequest, match=message):
        llm.generate(prompt, GREEDY)


def test_one_bad_prompt_refuses_all_before_any_runs(folder):
    llm = LLM(folder)
    llm._driver.engine.runner.launch = None  # a step would fail
    with pytest.raises(InvalidRequest, match=r"Prompt 1: The prompt is empty"):
        llm.generate(["fine", ""], GREEDY)
    assert_idle(llm)


def test_bad_parameters_for_prompts_are_refused(llm):
    with pytest.raises(InvalidRequest, match=r"2 sampling_params for 3 prompts"):
        llm.generate(["a", "b", "c"], [GREEDY, GREEDY])
    with pytest.raises(InvalidRequest, match=r"must be SamplingParams"):
        llm.generate("a", {"temperature": 0})
    with pytest.raises(InvalidRequest, match=r"stop token id 320 is outside"):
        llm.generate("a", SamplingParams(stop_token_ids=[320]))


def test_a_request_that_cannot_fit_the_pool_names_the_setting(folder):
    llm = LLM(folder, num_kv_blocks=4)
    assert llm.generate({"prompt_token_ids": [4] * 60}, SamplingParams(max_tokens=5)).finished
    with pytest.raises(InvalidRequest, match=r"needs? 5 blocks.*has 4.*num_kv_blocks"):
        llm.generate({"prompt_token_ids": [4] * 60}, SamplingParams(max_tokens=6))


def test_unknown_keywords_are_refused_with_a_suggestion(folder):
    with pytest.raises(UnknownArgument, match=r"SamplingParams does not know 'temprature'.*'temperature'"):
        SamplingParams(temprature=1)
    with pytest.raises(UnknownArgument, match=r"LLM does not know 'max_len'.*It knows: model, tokenizer"):
        LLM(folder, max_len=3)
    with pytest.raises(TypeError, match=r"presence_penalty"):
        SamplingParams(presence_penaltie=1.0)


def test_what_vllms_users_write_out_is_taken_where_it_asks_for_nothing(folder):
    assert LLM(folder, **{name: values[0] for name, values in NEUTRAL.items()}).generate("the", GREEDY).finished
    for name, value in [("tensor_parallel_size", 2), ("enable_lora", True), ("trust_remote_code", True)]:
        with pytest.raises(
            UnknownArgument, match=f"LLM: {name} = {value!r} is not supported; give .* leave it out"
        ):
            LLM(folder, **{name: value})


def test_generate_takes_what_asks_for_nothing_too(llm):
    assert llm.generate("the", GREEDY, lora_request=None, priority=0).finished
    with pytest.raises(UnknownArgument, match=r"generate: lora_request = .* is not supported"):
        llm.generate("the", GREEDY, lora_request="adapter")


def test_the_repr_says_what_is_loaded_and_where(llm, folder):
    assert repr(llm) == (
        f"LLM({str(folder)!r}, Qwen3ForCausalLM, {llm.info.num_parameters:,} parameters, float32 on cpu, "
        "max_model_len=256)"
    )


def test_the_repr_tells_quantized_weights(folder):
    assert "parameters, float32, int8 weights on cpu" in repr(LLM(folder, quantization="int8"))


def test_a_single_prompt_is_refused_without_its_number(llm):
    with pytest.raises(InvalidRequest, match=r"^The prompt is empty"):
        llm.generate("", GREEDY)


def test_other_libraries_names_are_answered_with_ours(folder, llm):
    with pytest.raises(UnknownArgument, match=r"LLM does not know 'n_ctx'. Write max_model_len=... instead"):
        LLM(folder, n_ctx=64)
    for call in (llm.generate, llm.stream):
        for name in ("max_tokens", "max_new_tokens"):
            with pytest.raises(
                UnknownArgument, match=rf"{name}'. Write sampling_params=SamplingParams\(...\) instead"
            ):
                call("the", **{name: 5})
    with pytest.raises(InvalidArgument, match=r"method must be 'ngram', and is 'eagle'"):
        LLM(folder, speculative_config={"method": "eagle", "model": "an/other"})


def test_a_call_that_does_not_fit_the_signature_says_what_it_takes(folder, llm):
    with pytest.raises(UnknownArgument, match=r"LLM: missing a required argument: 'model'. It knows: model"):
        LLM()
    with pytest.raises(UnknownArgument, match=r"LLM: too many positional arguments"):
        LLM(folder, folder)
    with pytest.raises(UnknownArgument, match=r"generate does not know 'sampling_parms'.*'sampling_params'"):
        llm.generate("the", sampling_parms=GREEDY)
    with pytest.raises(UnknownArgument, match=r"generate does not know 'prompt_token_ids'.*It knows: prompts"):
        llm.generate(prompt_token_ids=[1])
