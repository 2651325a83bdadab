"""One completion as the engine sees it: its tokens, its blocks, its text, and when it ends."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from metavox.engine.blocks import chain
from metavox.engine.detokenize import Detokenizer, find_stop, held_back
from metavox.engine.matchers import Matcher
from metavox.engine.tokenizer import Tokenizer
from metavox.outputs import CompletionOutput, FinishReason, Logprob
from metavox.params import SamplingParams

NO_ROW = -1
Verdict = tuple[FinishReason | None, str | int | None]  # finish_reason and stop_reason
INVALID_TOKEN = -1  # what the sampler gives where the logits were not finite


@dataclass(frozen=True)
class Request:
    """A request that was checked and can be run.

    `prompt` is the text it was given as, or None. `max_tokens` is the parameters' own or what the context
    leaves, whichever is less. `lockstep` says that each of its tokens must be known before the next is
    planned; `draftable` that several may be guessed at once, since its choices depend on the logits alone.
    `new_grammar` makes the matcher of a completion, where the output has a structure.
    """

    prompt: str | None
    prompt_token_ids: NDArray[int64]
    params: SamplingParams
    max_tokens: int
    lockstep: bool = False
    draftable: bool = False
    new_grammar: Callable[[], Matcher] | None = None


class Sequence:
    """The state of one completion, from its arrival to its `output`.

    The engine plans ahead of the device, so some of a sequence's tokens may be `in_flight`: sampled, or about to
    be, and not known here yet. `num_computed` counts the tokens whose keys and values are in the cache once
    everything that was launched has run.

    Args:
        request: what was asked.
        index: which of the request's n completions this is.
        eos_token_ids: the model's end-of-sequence tokens.
        seed: of its random numbers, 64 bits.
        tokenizer: None leaves the text empty.
    """

    def __init__(
        self, request: Request, index: int, *, eos_token_ids: frozenset[int], seed: int, tokenizer: Tokenizer | None
    ) -> None:
        self.request = request
        self.index = index
        self.seed = seed
        self.params = params = request.params
        self.num_prompt_tokens = self.num_tokens = len(request.prompt_token_ids)
        self._tokens = np.empty(self.num_tokens + min(request.max_tokens, 64), dtype=int64)
        self._tokens[: self.num_tokens] = request.prompt_token_ids
        self.num_computed = 0
        self.in_flight = 0
        self.num_cached_tokens = 0
        self.num_drafted = self.num_accepted = 0
        self.block_table = array("i")  # int32, which the runner can copy whole
        self.block_names: list[bytes] = []
        self.num_published = 0  # of its blocks, those that others can find
        self.slot = NO_ROW
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self.logprobs: list[dict[int, Logprob]] | None = None if params.logprobs is None else []
        self.token_times: list[float] = []
        self.max_concurrency = 0
        self.first_scheduled_time = self.finished_time = 0.0
        self._eos = frozenset() if params.ignore_eos else eos_token_ids
        self._tokenizer = tokenizer if params.detokenize else None
        self._begin()

    def _begin(self) -> None:
        """What follows from the output's tokens, for none of them."""
        self.text = ""
        self._searchable_from = 0  # stop strings are looked for from this place in the text on
        self.grammar = self.request.new_grammar() if self.request.new_grammar else None
        prompt = self.request.prompt_token_ids.tolist() if self._tokenizer else []
        self._detokenizer = (
            Detokenizer(self._tokenizer, prompt, self.params.skip_special_tokens) if self._tokenizer else None
        )

    @property
    def prompt_token_ids(self) -> NDArray[int64]:
        """[num_prompt_tokens]."""
        return self.request.prompt_token_ids

    @property
    def token_ids(self) -> NDArray[int64]:
        """[num_tokens], prompt and output as far as they are known."""
        return self._tokens[: self.num_tokens]

    @property
    def output_token_ids(self) -> NDArray[int64]:
        """[num_output_tokens]."""
        return self._tokens[self.num_prompt_tokens : self.num_tokens]

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated and known."""
        return self.num_tokens - self.num_prompt_tokens

    @property
    def num_uncomputed(self) -> int:
        """Tokens that must go through the model before the next one can be sampled."""
        return self.num_tokens + self.in_flight - self.num_computed

    @property
    def is_waiting_for_tokens(self) -> bool:
        """Whether nothing can be planned for it until tokens in flight are known."""
        if self.request.lockstep:
            return self.in_flight > 0
        return self.num_output_tokens + self.in_flight >= self.request.max_tokens

    @property
    def end_token_ids(self) -> frozenset[int]:
        """What ends the output: banned before `min_tokens`."""
        return self._eos.union(self.params.stop_token_ids or ())

    def names(self, block_size: int) -> list[bytes]:
        """The names of the blocks that are full of known tokens."""
        for start in range(len(self.block_names) * block_size, self.num_tokens - block_size + 1, block_size):
            parent = self.block_names[-1] if self.block_names else b""
            self.block_names.append(chain(parent, self._tokens[start : start + block_size]))
        return self.block_names

    def start(self, num_running: int) -> None:
        """Note a step that works on this sequence, in company of `num_running` in all."""
        if not self.first_scheduled_time:
            self.first_scheduled_time = time.monotonic()
        self.max_concurrency = max(self.max_concurrency, num_running)

    def rewind(self) -> None:
        """Forget what the device has of it, and make anew what follows from its known tokens.

        Whoever added a token may have been interrupted anywhere; one that was half added is sampled again.
        """
        self.num_computed = self.in_flight = self.num_published = 0
        self.slot = NO_ROW
        del self.block_table[:]
        if self.finish_reason is not None:
            return
        known = min(self.num_output_tokens, len(self.token_times))
        if self.logprobs is not None:
            known = min(known, len(self.logprobs))
            del self.logprobs[known:]
        del self.token_times[known:]
        self.num_tokens = self.num_prompt_tokens + known
        self._begin()
        for number, token in enumerate(self.output_token_ids.tolist(), 1):
            self._judge(token, number, self.token_times[number - 1])

    def abort(self) -> None:
        """End it: nobody wants it any more."""
        if self.finish_reason is None:
            if self._detokenizer is not None:
                self.text += self._detokenizer.flush()
            self._finish(("abort", None), time.monotonic())

    def append(self, token: int, now: float) -> None:
        """Add a sampled token, its text, and the verdict on whether the sequence ends here.

        Other threads may look on: `certain_text` only grows, and with a `finish_reason` everything is there.
        """
        if token == INVALID_TOKEN:
            self._finish(("error", None), now)
            return
        if self.num_tokens == len(self._tokens):
            self._tokens = np.concatenate((self._tokens, np.empty_like(self._tokens)))
        self._tokens[self.num_tokens] = token
        self.num_tokens += 1
        self.token_times.append(now)
        self._judge(token, self.num_output_tokens, now)

    def _judge(self, token: int, number: int, now: float) -> None:
        """Draw the consequences of output token `number`, counted from 1, that came `now`."""
        verdict = self._verdict_on(token, number)
        if self._detokenizer is not None:
            verdict = self._extend_text(self._detokenizer, token, number, verdict)
        if verdict[0]:
            self._finish(verdict, now)
        elif self.grammar is not None:
            self.grammar.accept(token)

    def _finish(self, verdict: Verdict, now: float) -> None:
        self.finished_time, self.stop_reason = now, verdict[1]
        self.finish_reason = verdict[0]

    def _verdict_on(self, token: int, number: int) -> Verdict:
        if number > self.params.min_tokens:
            if token in self._eos:
                return "stop", None
            if token in (self.params.stop_token_ids or ()):
                return "stop", token
        return ("length" if number >= self.request.max_tokens else None), None

    def _extend_text(self, detokenizer: Detokenizer, token: int, number: int, verdict: Verdict) -> Verdict:
        """Add a token's text, up to a stop string; the verdict, which such a one changes."""
        before, text = len(self.text), self.text
        if verdict[0] != "stop" or self.params.include_stop_str_in_output:
            text += detokenizer.push(token)
        if verdict[0]:
            text += detokenizer.flush()
        if number <= self.params.min_tokens:
            self._searchable_from = len(text)
        elif self.params.stop_strings:
            start = max(self._searchable_from, before - max(map(len, self.params.stop_strings)) + 1)
            found = find_stop(text, start, self.params.stop_strings)
            if found:
                place, stop = found
                text = text[: place + (len(stop) if self.params.include_stop_str_in_output else 0)]
                verdict = "stop", stop
        self.text = text
        return verdict

    @property
    def certain_text(self) -> str:
        """The text that no later token can take back: without what may be the beginning of a stop string."""
        finish_reason, text = self.finish_reason, self.text  # in this order, since other threads ask
        if finish_reason or not self.params.stop_strings:
            return text
        return text[: len(text) - held_back(text, self._searchable_from, self.params.stop_strings)]

    @property
    def cumulative_logprob(self) -> float | None:
        """The sum over the output's tokens, None where nobody asked."""
        if self.logprobs is None:
            return None
        chosen = zip(self.logprobs, self.output_token_ids.tolist(), strict=False)
        return sum(entries[token].logprob for entries, token in chosen)

    def output(self) -> CompletionOutput:
        """The completion as far as it is there."""
        return CompletionOutput(
            index=self.index,
            text=self.certain_text,
            token_ids=self.output_token_ids.tolist(),
            cumulative_logprob=self.cumulative_logprob,
            logprobs=None if self.logprobs is None else list(self.logprobs),
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
        )
