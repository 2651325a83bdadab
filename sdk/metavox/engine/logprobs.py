"""Log probabilities as the caller sees them: with the tokens' texts."""

from __future__ import annotations

from metavox.engine.chosen import PromptLogprobs, Sampled
from metavox.engine.request import RequestState
from metavox.engine.scheduler import Slice
from metavox.engine.sequence import INVALID_TOKEN, Sequence
from metavox.engine.tokenizer import Tokenizer
from metavox.outputs import Logprob


class Describe:
    """Adds log probabilities to the sequences and requests that asked for them."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer

    def token(self, sequence: Sequence, sampled: Sampled, row: int) -> None:
        """Those of one sampled token and of its alternatives."""
        number = sequence.params.logprobs
        if sequence.logprobs is None or number is None or int(sampled.token_ids[row]) == INVALID_TOKEN:
            return
        entries = sampled.entries(row, number)
        assert entries is not None
        sequence.logprobs.append(self._described(entries))

    def prompt(self, state: RequestState, piece: Slice, found: PromptLogprobs) -> None:
        """Those of the prompt's tokens after each one of a slice."""
        number = state.request.params.prompt_logprobs
        assert number is not None
        described = [self._described(found.entries(at, number)) for at in range(len(found))]
        # What is there already, from here on, was computed before a preemption.
        state.prompt_logprobs[piece.start + 1 :] = described

    def _described(self, entries: list[tuple[int, float, int]]) -> dict[int, Logprob]:
        return {token: Logprob(logprob, rank, self._text(token)) for token, logprob, rank in entries}

    def _text(self, token: int) -> str | None:
        return None if self._tokenizer is None else self._tokenizer.decode([token], skip_special_tokens=False)
