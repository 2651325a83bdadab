"""Text of a growing output, without ever showing half a character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metavox.engine.tokenizer import Tokenizer

CONTEXT = 6  # tokens of the prompt in view: a first token's leading space depends on what precedes it
REPLACEMENT = "\ufffd"
REST = 3  # of a character that begins at one token, the most tokens that can follow
MOST_HELD_BACK = 16  # tokens: bytes that never become characters would all be decoded again with each next one


class Detokenizer:
    """Turns one sequence's tokens into pieces of text that join to the text of the whole.

    A character of several bytes can span tokens; such a piece is held back until the character is complete,
    or until `flush`.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_token_ids: Sequence[int], skip_special: bool) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        # The tokens whose joint decoding is looked at. They begin with a character, or where bytes are tokens
        # of their own, what follows may not decode either.
        for length in range(CONTEXT, CONTEXT + REST + 1):
            self._window = list(prompt_token_ids[-length:])
            self._shown = self._decode()
            if not self._shown.startswith(REPLACEMENT):
                break
        self._num_shown = len(self._window)  # how many of them are shown already

    def push(self, token: int) -> str:
        """Add a token; returns the text that became certain, often none."""
        self._window.append(token)
        text = self._decode()
        if text.endswith(REPLACEMENT):
            return self._show(text, REST) if len(self._window) - self._num_shown > MOST_HELD_BACK else ""
        if text and text == self._shown:
            # A skipped special token must not become the context: with none before it, sentencepiece's kind of
            # tokenizer drops a text's first space.
            self._window.pop()
            return ""
        return self._show(text)

    def flush(self) -> str:
        """The text held back, with U+FFFD for what never became a character."""
        return self._show(self._decode())

    def _show(self, text: str, num_held_back: int = 0) -> str:
        """Show `text`, the window's, but for what the last tokens of it may still change."""
        end = len(self._window) - num_held_back
        certain = text if not num_held_back else self._decode(end)
        if not text.startswith(certain):  # `end` is in the middle of a character: another one will not be
            return ""
        piece = certain[len(self._shown) :]
        del self._window[: self._num_shown]
        self._num_shown = end - self._num_shown
        self._shown = self._decode(self._num_shown)
        return piece

    def _decode(self, end: int | None = None) -> str:
        return self._tokenizer.decode(self._window[:end], skip_special_tokens=self._skip_special)


def find_stop(text: str, start: int, stops: Iterable[str]) -> tuple[int, str] | None:
    """Where the first stop string at or after `start` begins, and which it is; the longer one of two."""
    found = [(place, -len(stop), stop) for stop in stops if (place := text.find(stop, start)) >= 0]
    if not found:
        return None
    place, _, stop = min(found)
    return place, stop


def held_back(text: str, start: int, stops: Iterable[str]) -> int:
    """How many characters at the end of `text`, none before `start`, begin a stop string; the most of them."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text) - start), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
