"""SamplingParams takes what it can honour and refuses the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metavox import SamplingParams, StructuredOutputsParams
from metavox.errors import InvalidRequest, UnknownArgument
from metavox.params import NEUTRAL


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, float("nan"), float("inf"), 1e300, 10**400, 10**5000, "1", None, True, np.True_]),
        ("top_p", [0, -0.5, 1.01, float("nan"), 10**400, "x"]),
        ("top_k", [-2, 1.5, None, True, 2**63, np.float32(2)]),
        ("max_tokens", [0, -1, 2.0, True, 10**5000]),
        ("min_tokens", [-1, 17, None]),
        ("seed", ["x", 1.5, True, 10**5000, torch.tensor(1.5)]),
        ("stop", ["", [""], 5, [5], ["a", None]]),
        ("stop_token_ids", [5, [-1], ["a"], [True], [1.0], [torch.tensor(1.5)]]),
        ("n", [0, 1025, 1.5, True, None]),
        ("min_p", [-0.1, 1.01, float("nan"), "x"]),
        ("repetition_penalty", [0, -1, 1e7, 1e-50, float("inf"), None]),
        ("presence_penalty", [-2.1, 2.1, float("nan"), "1"]),
        ("frequency_penalty", [-2.1, 2.1, None]),
        ("logit_bias", [5, [1], {"a": 1}, {-1: 1}, {1: 101}, {1: float("nan")}, {1: None}, {True: 1}, {1.0: 1}]),
        ("allowed_token_ids", [5, [], [-1], ["a"], "12"]),
        ("bad_words", ["word", [""], [" "], [5], [[]], [[-1]], [["a"]], [None], 5]),
        ("structured_outputs", [{"json": {}}, "json", 5]),
        ("logprobs", [-1, 21, True, 1.5, "all"]),
        ("prompt_logprobs", [-1, 21, True]),
        ("detokenize", [1, None]),
        ("ignore_eos", [1, "yes", None]),
        ("skip_special_tokens", [0]),
        ("include_stop_str_in_output", [None]),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(InvalidRequest, match=f"SamplingParams.{name} must be"):
            SamplingParams(**{name: value})


def test_the_defaults_are_vllms():
    params = SamplingParams()
    assert (params.temperature, params.top_p, params.top_k, params.max_tokens) == (1.0, 1.0, 0, 16)
    assert (params.min_tokens, params.seed, params.ignore_eos) == (0, None, False)


def test_what_vllms_users_write_out_is_taken_where_it_asks_for_nothing():
    written = {name: values[0] for name, values in NEUTRAL.items()}
    assert SamplingParams(n=1, repetition_penalty=1, logit_bias={}) == SamplingParams(**written) == SamplingParams()


@pytest.mark.parametrize("asked", [{"best_of": 2}, {"length_penalty": 1.1}, {"use_beam_search": True}])
def test_what_it_asks_beyond_that_is_refused_by_name(asked):
    ((name, value),) = asked.items()
    with pytest.raises(UnknownArgument, match=f"SamplingParams: {name} = {value} is not supported; give .* leave"):
        SamplingParams(**asked)


def test_max_tokens_of_none_leaves_the_length_to_the_context():
    assert SamplingParams(max_tokens=None, min_tokens=5000).max_tokens is None


def test_the_edges_of_the_ranges_are_allowed():
    SamplingParams(temperature=0, top_p=1, top_k=-1, max_tokens=1, min_tokens=1, seed=-5, stop=["a", "b"])


def test_numbers_of_numpy_and_torch_become_pythons():
    params = SamplingParams(
        temperature=np.float32(0.5),
        top_p=np.float64(0.5),
        top_k=np.int64(3),
        max_tokens=torch.tensor(4),
        seed=np.uint8(5),
        stop_token_ids=[np.int32(6)],
    )
    assert params == SamplingParams(temperature=0.5, top_p=0.5, top_k=3, max_tokens=4, seed=5, stop_token_ids=[6])
    assert {type(value) for value in (params.temperature, params.top_p)} == {float}
    assert {type(value) for value in (params.top_k, params.max_tokens, params.seed)} == {int}


def test_stop_may_be_one_string_or_several():
    assert SamplingParams(stop="ab").stop_strings == ("ab",)
    assert SamplingParams(stop=["a", "b"]).stop_strings == ("a", "b")
    assert SamplingParams().stop_strings == ()


def test_parameters_do_not_change_after_they_were_checked():
    with pytest.raises(AttributeError):
        SamplingParams().temperature = -1


def test_what_is_asked_of_tokens_is_kept_as_plain_values():
    params = SamplingParams(
        logit_bias={np.int64(7): np.float32(0.5), 3: 1},
        allowed_token_ids=[9, np.int32(2), 9],
        bad_words=["a", [np.int64(4), 5]],
        stop_token_ids=None,
    )
    assert params.logit_bias == {3: 1.0, 7: 0.5}
    assert {type(token) for token in params.logit_bias} == {int}
    assert params.allowed_token_ids == (2, 9)
    assert params.bad_words == ("a", (4, 5))
    assert SamplingParams(logit_bias={}, bad_words=[]) == SamplingParams()
    assert hash(params) == hash(SamplingParams(allowed_token_ids=[2, 9], bad_words=["a", [4, 5]]))


def test_several_completions_of_a_greedy_request_are_refused():
    with pytest.raises(InvalidRequest, match="n = 2 with temperature = 0 would give the same text 2 times"):
        SamplingParams(n=2, temperature=0)


@pytest.mark.parametrize(
    "other", [{"min_tokens": 1}, {"ignore_eos": True}, {"allowed_token_ids": [1]}, {"bad_words": ["a"]}]
)
def test_what_contradicts_a_structure_is_refused_by_name(other):
    with pytest.raises(InvalidRequest, match=f"{next(iter(other))} cannot be combined with structured_outputs"):
        SamplingParams(structured_outputs=StructuredOutputsParams(json_object=True), **other)


def test_stop_strings_need_the_text():
    with pytest.raises(InvalidRequest, match="stop is looked for in the text, which detokenize = False leaves out"):
        SamplingParams(stop="a", detokenize=False)


@pytest.mark.parametrize(
    ("asked", "plain"),
    [
        ({}, True),
        ({"top_k": 5, "top_p": 0.5, "min_p": 0.5, "min_tokens": 3, "prompt_logprobs": 2, "stop": "a"}, True),
        ({"temperature": 0.1}, False),
        ({"logprobs": 0}, False),
        ({"logit_bias": {1: 1}}, False),
        ({"allowed_token_ids": [1]}, False),
        ({"bad_words": ["a"]}, False),
        ({"structured_outputs": StructuredOutputsParams(choice=["a"])}, False),
        ({"frequency_penalty": 0.1}, False),
    ],
)
def test_plain_greedy_is_what_asks_nothing_of_the_logits(asked, plain):
    assert SamplingParams(**{"temperature": 0, **asked}).is_plain_greedy is plain


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        (
            {"guided_decoding": {"choice": ["a"]}},
            r"not supported; write structured_outputs=StructuredOutputsParams\(",
        ),
        ({"max_new_tokens": 5}, r"does not know 'max_new_tokens'. Write max_tokens=... instead"),
        ({"do_sample": False}, "Write temperature=0 for greedy"),
    ],
    ids=str,
)
def test_other_names_for_what_there_is_are_answered_with_ours(asked, advice):
    with pytest.raises(UnknownArgument, match=advice):
        SamplingParams(**asked)
