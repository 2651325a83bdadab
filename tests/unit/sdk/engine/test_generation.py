"""A checkpoint's own settings are the parameters of a request that gives none, or are refused with their file."""

import pytest

from metavox import SamplingParams
from metavox.engine.generation import GenerationDefaults
from metavox.errors import InvalidRequest

EOS = frozenset({2, 3})


def params(**settings):
    return GenerationDefaults(EOS, settings).params()


def test_what_it_says_of_the_choice_of_tokens_is_honoured():
    asked = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1, "repetition_penalty": 1.05}
    assert params(**asked) == SamplingParams(**asked)
    assert params(presence_penalty=1.5, frequency_penalty=-1) == SamplingParams(
        presence_penalty=1.5, frequency_penalty=-1
    )
    assert params(do_sample=False, top_k=50).temperature == 0


def test_tokens_that_are_not_to_come_are_bad_words_but_for_the_ends():
    assert params(bad_words_ids=[[7, 8], [2], [9]], suppress_tokens=[11]) == SamplingParams(
        bad_words=[[7, 8], [9], [11]]
    )
    assert params(bad_words_ids=[[2]], suppress_tokens=[]) == params(bad_words_ids=None) == SamplingParams()


@pytest.mark.parametrize(
    "settings",
    [
        {"bad_words_ids": 5},
        {"bad_words_ids": [5]},
        {"bad_words_ids": [["a"]]},
        {"suppress_tokens": {"a": 1}},
        {"suppress_tokens": ["a"]},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"presence_penalty": 3},
        {"top_k": "many"},
    ],
)
def test_what_is_out_of_range_names_its_file(settings):
    with pytest.raises(
        InvalidRequest, match=r"generation_config.json is out of range: .*Pass sampling_params explicitly"
    ):
        params(**settings)


@pytest.mark.parametrize(
    "settings", [{"no_repeat_ngram_size": 3}, {"begin_suppress_tokens": [4]}, {"num_beams": 4}, {"typical_p": 0.9}]
)
def test_what_is_not_supported_is_refused_by_name(settings):
    with pytest.raises(InvalidRequest, match=f"asks for {next(iter(settings))} = .*which is not supported"):
        params(**settings)
