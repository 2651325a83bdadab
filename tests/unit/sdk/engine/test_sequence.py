"""When a sequence ends, for what reason, and with what text."""

import pytest

from metavox.engine.sequence import Request, Sequence
from metavox.params import SamplingParams
from tests.unit.sdk.engine.test_detokenize import Bytes

EOS = 256


def feed(output: bytes | list[int], **params) -> Sequence:
    """Generate `output` byte by byte until the sequence says that it has ended."""
    params = {"max_tokens": 100, **params}
    request = Request("p", tuple(b"p"), SamplingParams(**params), params["max_tokens"])
    sequence = Sequence("0", request, eos_token_ids=frozenset({EOS}), seed="0", tokenizer=Bytes())
    for token in output:
        if sequence.finish_reason:
            break
        sequence.append(token)
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


def test_what_would_end_it_is_banned_before_min_tokens():
    sequence = feed(b"a", min_tokens=2, stop_token_ids=[5])
    assert sequence.banned_token_ids == {5, EOS}
    sequence.append(98)
    assert sequence.banned_token_ids == set()


def test_the_clock_runs_forward():
    sequence = feed(b"abc", max_tokens=3)
    sequence.start(4)
    metrics = sequence.output(123).metrics
    assert metrics.arrival_time <= metrics.first_token_time <= metrics.finished_time
    assert metrics.request_duration >= metrics.time_to_first_token >= 0
    assert metrics.num_generation_tokens == 3
    assert metrics.max_concurrency == 4
    assert metrics.device_memory_bytes == 123


def test_a_single_token_has_no_time_per_output_token():
    metrics = feed(b"a", max_tokens=1).output(0).metrics
    assert metrics.time_per_output_token is None
    assert metrics.output_tokens_per_second is None
