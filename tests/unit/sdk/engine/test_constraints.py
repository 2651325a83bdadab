"""What a request's parameters ask of this model's tokens: refused, or turned into matchers."""

from types import SimpleNamespace

import numpy as np
import pytest

from metavox import SamplingParams, StructuredOutputsParams
from metavox.engine.constraints import check_params, needs_history, needs_tokens
from metavox.engine.matchers import BadWords, clear_bits, set_bits
from metavox.errors import InvalidRequest

VOCAB = 70
EOS = frozenset({1})
BARE = {"cat": [10], "dog": [11, 12], "fish": [13], "of": [30, 31]}
SPACED = {"cat": [20], "dog": [21, 12], "fish": [23, 24, 13], "of": [30, 31]}


class Words:
    """A tokenizer of words; a word at the start of a text has another id than one after a space."""

    def __init__(self):
        self.inner = SimpleNamespace(encode=self.encode)

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return (SPACED if text.startswith(" ") else BARE).get(text.strip(), [])


def check(tokenizer=None, **params):
    return check_params(SamplingParams(**params), VOCAB, tokenizer, EOS)


def allowed(matcher):
    words = np.full(-(-VOCAB // 32), -1, dtype=np.int32)
    matcher.fill(words)
    return set(np.unpackbits(words.view(np.uint8), bitorder="little")[:VOCAB].nonzero()[0].tolist())


def forbidden(matcher):
    return set(range(VOCAB)) - allowed(matcher)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"stop_token_ids": [VOCAB]}, "stop token id 70"),
        ({"allowed_token_ids": [3, VOCAB]}, "allowed token id 70"),
        ({"logit_bias": {VOCAB: 1}}, "logit_bias token id 70"),
        ({"bad_words": [[3, 71]]}, "bad word's token id 71"),
    ],
)
def test_a_token_outside_of_the_vocabulary_is_refused_by_name(params, name):
    with pytest.raises(InvalidRequest, match=f"{name} is outside the model's vocabulary, 0 to 69"):
        check(**params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stop": "a"}, "Stop strings need a tokenizer"),
        ({"bad_words": ["a"]}, "bad_words as text need a tokenizer, and the model has none; give token ids"),
        ({"structured_outputs": StructuredOutputsParams(json_object=True)}, "structured_outputs needs a tokenizer"),
    ],
)
def test_what_needs_a_tokenizer_is_refused_without_one(params, message):
    with pytest.raises(InvalidRequest, match=message):
        check(**params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"min_tokens": 1, "allowed_token_ids": [1]}, "min_tokens cannot be reached: every allowed token ends"),
        ({"min_tokens": 1, "allowed_token_ids": [4], "stop_token_ids": [4]}, "min_tokens cannot be reached"),
        ({"min_tokens": 1, "stop_token_ids": range(VOCAB)}, "every token of the vocabulary ends the output"),
        ({"min_tokens": 1, "allowed_token_ids": [1, 5], "bad_words": [[5]]}, "ends the output or is a bad word"),
        ({"allowed_token_ids": [5, 6], "bad_words": [[5], [6, 6]]}, "bad_words leaves no token to choose"),
        ({"allowed_token_ids": [5, 6], "bad_words": [[5, 5, 5], [6, 6], [6, 5]]}, "bad_words leaves no token"),
        ({"bad_words": [[3, token] for token in range(VOCAB)]}, "bad_words leaves no token to choose"),
        ({"bad_words": [[token] for token in range(VOCAB)]}, "bad_words leaves no token to choose"),
    ],
)
def test_a_request_that_leaves_nothing_to_choose_is_refused(params, message):
    with pytest.raises(InvalidRequest, match=message):
        check(**params)


@pytest.mark.parametrize(
    "params",
    [
        {"allowed_token_ids": [5, 6], "bad_words": [[5, 6], [6, 5]]},
        {"allowed_token_ids": [5, 6], "bad_words": [[5], [3, 6]]},
        {
            "bad_words": [[token, (3 * token) % VOCAB] for token in range(VOCAB)]
            + [[1, 2, token] for token in range(9)]
        },
        {"min_tokens": 2, "allowed_token_ids": [1, 5, 6], "bad_words": [[5, 5], [6, 6]]},
    ],
)
def test_bad_words_that_leave_something_everywhere_are_taken(params):
    assert isinstance(check(**params), BadWords)


def test_ends_that_are_ignored_can_be_chosen_before_min_tokens():
    assert check(min_tokens=1, allowed_token_ids=[1], ignore_eos=True) is None


def test_most_requests_need_no_matcher():
    assert check(temperature=0.5, logit_bias={3: 1}, allowed_token_ids=[4], min_tokens=2) is None


def test_a_bad_word_of_one_token_never_comes():
    matcher = check(bad_words=[[5], [9]]).matcher()
    assert forbidden(matcher) == {5, 9}
    matcher.accept(5)
    assert forbidden(matcher) == {5, 9}


def test_the_last_token_of_a_longer_bad_word_is_forbidden_where_the_others_precede_it():
    constraint = check(bad_words=[[5, 6, 7], [6, 8]])
    matcher, other = constraint.matcher(), constraint.matcher()
    steps = [(5, set()), (6, {7, 8}), (9, set()), (6, {8}), (5, set()), (5, set()), (6, {7, 8})]
    assert forbidden(matcher) == set()
    for token, expected in steps:
        matcher.accept(token)
        assert forbidden(matcher) == expected
    assert forbidden(other) == set()


def test_bad_words_as_text_are_tokenized_bare_and_after_a_space():
    words = check(Words(), bad_words=[" cat", "dog", "fish", "of"])
    assert isinstance(words, BadWords)
    assert words.always.tolist() == [10, 13, 20]
    assert words.longer == [(11, 12), (21, 12), (23, 24, 13), (30, 31)]


def test_a_bad_word_without_tokens_is_refused():
    with pytest.raises(InvalidRequest, match="The bad word 'bird' has no tokens"):
        check(Words(), bad_words=["bird"])


def test_a_bad_word_that_is_no_text_is_refused():
    with pytest.raises(InvalidRequest, match="A bad word is no valid Unicode text"):
        check(Words(), bad_words=["\ud800"])


def test_what_waits_for_tokens_and_what_merely_depends_on_them():
    structured = SamplingParams(structured_outputs=StructuredOutputsParams(regex="a"))
    longer, text, single = (SamplingParams(bad_words=[word]) for word in ([1, 2], "a", [1]))
    penalized = SamplingParams(presence_penalty=1)
    plain = SamplingParams(top_k=3, min_tokens=4, allowed_token_ids=[3])
    assert [needs_tokens(p) for p in (structured, longer, text, single, penalized, plain)] == [True] * 3 + [
        False
    ] * 3
    assert [needs_history(p) for p in (structured, longer, text, penalized, plain)] == [True] * 4 + [False]


def test_bits_are_set_and_cleared_also_in_the_sign():
    words = np.zeros(2, dtype=np.int32)
    set_bits(words, np.array([0, 31, 32, 63]))
    assert words.tolist() == [1 - 2**31, 1 - 2**31]
    clear_bits(words, np.array([31, 31, 32]))
    assert words.tolist() == [1, -(2**31)]
