"""Text grows by whole characters, and its pieces join to the text of the whole."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox.engine.detokenize import Detokenizer, find_stop, held_back
from metavox.engine.tokenizer import HubTokenizer, load_tokenizer
from tests.checkpoints import write_tokenizer


class Bytes:
    """A tokenizer of production's shape whose ids are bytes, 256 a special token."""

    eos_token_id = 256

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids, *, skip_special_tokens):
        special = b"" if skip_special_tokens else b"</s>"
        return b"".join(special if i == 256 else bytes([i]) for i in ids).decode(errors="replace")


def pieces_of(ids, prompt=(), skip_special=True):
    detokenizer = Detokenizer(Bytes(), prompt, skip_special)
    return [detokenizer.push(token) for token in ids] + [detokenizer.flush()]


def test_a_character_of_four_bytes_appears_when_its_last_byte_is_there():
    assert pieces_of("a🦙b".encode()) == ["a", "", "", "", "🦙", "b", ""]


@settings(max_examples=200)
@given(ids=st.lists(st.integers(0, 256), max_size=40), prompt=st.text(max_size=8))
def test_the_pieces_join_to_the_decoding_of_the_whole(ids, prompt):
    for skip in (True, False):
        whole = Bytes().decode(ids, skip_special_tokens=skip)
        # The context is cut from the prompt's bytes, so begin it with a character of one byte.
        assert "".join(pieces_of(ids, ("." * 8 + prompt).encode() + b".", skip)) == whole


@settings(max_examples=200)
@given(ids=st.lists(st.sampled_from(b"\x80\xe2\x82\xac\xf0\x9fa"), max_size=120))
def test_long_runs_of_bytes_that_are_no_characters_join_too(ids):
    assert "".join(pieces_of(ids)) == Bytes().decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("run", [b"\x80" * 500, b"\xe2\x82" * 250, b"\xf0" * 500])
def test_bytes_that_never_become_characters_are_not_decoded_again_for_ever(run, monkeypatch):
    decode, lengths = Bytes.decode, []

    def noted(self, ids, *, skip_special_tokens):
        lengths.append(len(ids))
        return decode(self, ids, skip_special_tokens=skip_special_tokens)

    monkeypatch.setattr(Bytes, "decode", noted)
    assert "".join(pieces_of(run)) == run.decode(errors="replace")
    assert max(lengths) < 50


@given(text=st.text(max_size=30))
def test_valid_text_never_shows_a_replacement_character(text):
    pieces = pieces_of(text.encode(), b"prompt")
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in pieces)


def test_what_never_became_a_character_is_shown_at_the_end():
    assert pieces_of([0x61, 0xF0, 0x9F]) == ["a", "", "", "\ufffd"]


@pytest.fixture(scope="module")
def hub_tokenizer(tmp_path_factory) -> HubTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return load_tokenizer(folder)


@pytest.mark.parametrize("text", ["the thin man on an inner line", "naïve 漢字 🦙🦙 \n\t x", " leading", "a  b"])
def test_a_real_tokenizer_goes_there_and_back(hub_tokenizer, text):
    ids = hub_tokenizer.encode(text)
    detokenizer = Detokenizer(hub_tokenizer, hub_tokenizer.encode("the"), True)
    assert "".join([detokenizer.push(token) for token in ids] + [detokenizer.flush()]) == text


class Pieces:
    """Like sentencepiece: a piece begins with its space, and a text with none."""

    eos_token_id = 0
    pieces = ("</s>", "▁Hello", "▁wor", "ld", "▁", "!")

    def encode(self, text):
        raise NotImplementedError

    def decode(self, ids, *, skip_special_tokens):
        pieces = (self.pieces[i] for i in ids if i or not skip_special_tokens)
        return "".join(pieces).replace("▁", " ").removeprefix(" ")


def test_a_space_that_a_tokenizer_drops_at_the_beginning_of_a_text_stays_within_it():
    detokenizer = Detokenizer(Pieces(), [1], True)
    assert [detokenizer.push(token) for token in (2, 3, 4, 1, 5)] == [" wor", "ld", " ", " Hello", "!"]


def test_a_space_stays_after_special_tokens_that_are_not_shown():
    detokenizer = Detokenizer(Pieces(), [1], True)
    assert [detokenizer.push(token) for token in (0, 1, 0, 0, 2, 3)] == ["", " Hello", "", "", " wor", "ld"]


class AllOrNothing(Bytes):
    """Like sentencepiece with bytes as tokens of their own: a run of them decodes as a whole, or not at all."""

    def decode(self, ids, *, skip_special_tokens):
        try:
            return bytes(ids).decode()
        except UnicodeDecodeError:
            return "\ufffd" * len(ids)


@pytest.mark.parametrize("prompt", ["🦙", "🦙🦙", "漢字漢字", "ééééé", "a🦙🦙"])
def test_a_character_after_a_prompt_of_characters_of_several_bytes_is_whole(prompt):
    detokenizer = Detokenizer(AllOrNothing(), prompt.encode(), True)
    assert "".join([detokenizer.push(token) for token in "🦙é".encode()] + [detokenizer.flush()]) == "🦙é"


def test_the_first_stop_string_wins_and_of_two_at_one_place_the_longer():
    assert find_stop("a stop here", 0, ("here", "stop")) == (2, "stop")
    assert find_stop("a stop here", 0, ("st", "stop")) == (2, "stop")
    assert find_stop("a stop here", 3, ("stop",)) is None


@given(
    text=st.text("abc", max_size=8),
    start=st.integers(0, 8),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_what_is_held_back_is_the_most_that_may_begin_a_stop_string(text, start, stops):
    beginnings = [
        length
        for length in range(1, len(text) - min(start, len(text)) + 1)
        if any(len(stop) > length and stop.startswith(text[-length:]) for stop in stops)
    ]
    assert held_back(text, start, stops) == max(beginnings, default=0)
