"""When a sequence ends, for what reason, with what text, and what of the text is certain before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox.engine.request import RequestState
from metavox.engine.sequence import Request, Sequence
from metavox.engine.stream import Chunks
from metavox.outputs import Logprob
from metavox.params import SamplingParams
from tests.unit.sdk.engine.test_detokenize import Bytes

EOS = 256


def request_of(**params) -> Request:
    params = {"max_tokens": 100, **params}
    return Request(
        "p", np.frombuffer(b"p", dtype=np.uint8).astype(np.int64), SamplingParams(**params), params["max_tokens"]
    )


def new(**params) -> Sequence:
    return Sequence(request_of(**params), 0, eos_token_ids=frozenset({EOS}), seed=0, tokenizer=Bytes())


def feed(output: bytes | list[int], **params) -> Sequence:
    """Generate `output` byte by byte until the sequence says that it has ended."""
    sequence = new(**params)
    for at, token in enumerate(output):
        if sequence.finish_reason:
            break
        sequence.append(token, now=float(at + 1))
    return sequence


def verdict(sequence: Sequence):
    return sequence.text, sequence.finish_reason, sequence.stop_reason, sequence.num_output_tokens


def test_a_stop_string_across_tokens_is_cut_off_with_what_follows():
    assert verdict(feed(b"one END two", stop="END")) == ("one ", "stop", "END", 7)


def test_a_stop_string_can_be_kept():
    assert feed(b"one END two", stop=["END"], include_stop_str_in_output=True).text == "one END"


def test_a_stop_string_of_several_bytes_a_character_is_found():
    assert verdict(feed("ab🦙c".encode(), stop="🦙")) == ("ab", "stop", "🦙", 6)


def test_a_stop_string_held_back_with_half_a_character_is_found_at_the_end():
    assert verdict(feed(b"ab!\xf0", stop="!", max_tokens=4))[:3] == ("ab", "stop", "!")


def test_text_that_only_begins_like_a_stop_string_stays():
    assert verdict(feed(b"EN EN", stop="END", max_tokens=5)) == ("EN EN", "length", None, 5)


def test_the_end_of_sequence_token_ends_it_without_showing():
    assert verdict(feed([97, EOS, 98])) == ("a", "stop", None, 2)
    assert verdict(feed([97, EOS, 98], skip_special_tokens=False))[0] == "a"


def test_ignore_eos_goes_on():
    assert verdict(feed([97, EOS, 98], ignore_eos=True, max_tokens=3)) == ("ab", "length", None, 3)


def test_a_stop_token_is_the_reason_and_is_not_text():
    assert verdict(feed(b"abc", stop_token_ids=[98])) == ("a", "stop", 98, 2)
    assert feed(b"abc", stop_token_ids=[98], include_stop_str_in_output=True).text == "ab"


def test_max_tokens_is_the_length():
    assert verdict(feed(b"abcdef", max_tokens=3)) == ("abc", "length", None, 3)


def test_an_end_at_the_last_allowed_token_is_a_stop():
    assert verdict(feed([97, EOS], max_tokens=2)) == ("a", "stop", None, 2)


@pytest.mark.parametrize("stop", [{"stop": "b"}, {"stop_token_ids": [98]}])
def test_nothing_ends_it_before_min_tokens(stop):
    assert feed(b"abab", min_tokens=2, **stop).num_output_tokens == 4


def test_what_ends_it_is_known_before_it_does():
    assert new(stop_token_ids=[5]).end_token_ids == {5, EOS}
    assert new(stop_token_ids=[5], ignore_eos=True).end_token_ids == {5}


def test_without_detokenization_there_are_tokens_and_no_text():
    assert verdict(feed(b"abc", detokenize=False, max_tokens=3)) == ("", "length", None, 3)


def test_an_aborted_one_keeps_what_it_had():
    sequence = feed("ab🦙".encode()[:-1])
    sequence.abort()
    assert verdict(sequence) == ("ab\ufffd", "abort", None, 5)
    sequence.abort()
    assert sequence.text == "ab\ufffd"


def test_no_number_is_no_token():
    sequence = feed([97, -1, 98])
    assert verdict(sequence) == ("a", "error", None, 1)


outputs = st.text("ab🦙é", min_size=1, max_size=14)
stops = st.lists(st.text("ab🦙é", min_size=1, max_size=4), max_size=3)


@settings(max_examples=300)
@given(text=outputs, stops=stops, min_tokens=st.integers(0, 8), include=st.booleans())
def test_certain_text_is_never_taken_back_and_becomes_the_whole(text, stops, min_tokens, include):
    ids = text.encode()
    asked = {"stop": stops or None, "min_tokens": min_tokens, "include_stop_str_in_output": include}
    state = RequestState(
        "0",
        request_of(max_tokens=max(len(ids), min_tokens), **asked),
        eos_token_ids=frozenset(),
        seed="0",
        tokenizer=Bytes(),
    )
    sequence, chunks, told = state.sequences[0], Chunks(state), []
    for token in ids:
        if not sequence.finish_reason:
            sequence.append(token, now=1.0)
            told += chunks.take(0)
    if not sequence.finish_reason:
        sequence.abort()
        told += chunks.take(0)
    assert "".join(chunk.text for chunk in told) == sequence.text
    assert [token for chunk in told for token in chunk.token_ids] == sequence.output_token_ids.tolist()
    assert [chunk.finish_reason for chunk in told[:-1]] == [None] * (len(told) - 1)
    assert told[-1].output is not None
    assert chunks.take(0) == []
    assert text.startswith(sequence.text)
    if not include and sequence.finish_reason == "stop":
        assert text.startswith(sequence.text + sequence.stop_reason)


@given(text=outputs, stops=stops, lost=st.sampled_from(["nothing", "a time", "a text", "a token"]))
def test_after_an_interruption_anywhere_it_goes_on_as_if_there_had_been_none(text, stops, lost):
    ids = text.encode()
    whole, broken = feed(ids, stop=stops or None, max_tokens=len(ids)), new(stop=stops or None, max_tokens=len(ids))
    half = min(len(ids) // 2, whole.num_output_tokens - 1)
    for token in ids[:half]:
        broken.append(token, now=1.0)
    if half and lost == "a time":
        del broken.token_times[-1]
    if half and lost == "a text":
        broken.text = broken.text[:-1]
        broken._detokenizer.push(7)
    if lost == "a token":
        broken._tokens[broken.num_tokens] = ids[half]
        broken.num_tokens += 1
    broken.rewind()
    assert broken.num_output_tokens == half - (lost == "a time" and half > 0)
    assert broken.num_computed == broken.in_flight == 0
    for token in ids[broken.num_output_tokens : whole.num_output_tokens]:
        broken.append(token, now=2.0)
    assert verdict(broken) == verdict(whole)


def test_an_interruption_between_the_last_token_and_the_verdict_ends_it_all_the_same():
    sequence = feed(b"ab", max_tokens=2)
    sequence.finish_reason = None
    sequence.rewind()
    assert verdict(sequence) == ("ab", "length", None, 2)


def test_the_sum_of_logprobs_is_of_the_tokens_that_are_there():
    sequence = feed(b"ab", logprobs=0)
    sequence.logprobs = [{97: Logprob(-1.0, 1, "a")}, {98: Logprob(-0.5, 2, "b"), 97: Logprob(-0.1, 1, "a")}]
    assert sequence.output().cumulative_logprob == -1.5
    sequence.rewind()
    assert sequence.output().cumulative_logprob == -1.5
    assert feed(b"ab").output().cumulative_logprob is None


def state_of(**params) -> RequestState:
    return RequestState("0", request_of(**params), eos_token_ids=frozenset({EOS}), seed="0", tokenizer=Bytes())


def test_the_clock_runs_forward():
    state = state_of(max_tokens=3)
    sequence = state.sequences[0]
    sequence.start(4)
    for token, now in zip(b"abc", (1e9, 2e9, 4e9), strict=True):
        sequence.append(token, now)
    metrics = state.output(123).metrics
    assert metrics.arrival_time <= metrics.first_scheduled_time <= metrics.first_token_time == 1e9
    assert metrics.token_times == ((1e9, 2e9, 4e9),)
    assert (metrics.finished_time, metrics.time_per_output_token) == (4e9, 1.5e9)
    assert (metrics.num_generation_tokens, metrics.max_concurrency, metrics.device_memory_bytes) == (3, 4, 123)


def test_completions_of_one_request_have_seeds_of_their_own():
    seeds = {sequence.seed for sequence in state_of(n=50).sequences}
    assert len(seeds) == 50
    assert seeds == {sequence.seed for sequence in state_of(n=50).sequences}
