"""One request as the engine sees it: its tokens, its blocks, its text, and when it ends."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from metavox.engine.detokenize import Detokenizer, find_stop
from metavox.engine.tokenizer import Tokenizer
from metavox.outputs import CompletionOutput, FinishReason, RequestMetrics, RequestOutput
from metavox.params import SamplingParams


@dataclass(frozen=True)
class Request:
    """A request that was checked and can be run.

    `prompt` is the text it was given as, or None. `max_tokens` is the parameters' own or what the context
    leaves, whichever is less.
    """

    prompt: str | None
    prompt_token_ids: tuple[int, ...]
    params: SamplingParams
    max_tokens: int


class Sequence:
    """The state of one request, from its arrival to its `output`.

    Args:
        request_id: unique within the engine.
        request: what was asked.
        eos_token_ids: the model's end-of-sequence tokens.
        seed: seeds the sequence's own random numbers; any string.
        tokenizer: None leaves the text empty.
    """

    def __init__(
        self,
        request_id: str,
        request: Request,
        *,
        eos_token_ids: frozenset[int],
        seed: str,
        tokenizer: Tokenizer | None,
    ) -> None:
        self.request_id = request_id
        self.request = request
        self.params = params = request.params
        self.num_prompt_tokens = len(request.prompt_token_ids)
        self.token_ids = list(request.prompt_token_ids)
        self.num_computed = 0  # tokens whose keys and values are in the cache
        self.block_table: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self.max_concurrency = 0
        self._eos = frozenset() if params.ignore_eos else eos_token_ids
        self._random = random.Random(seed)  # noqa: S311 - sampling, not cryptography
        self._detokenizer = (
            Detokenizer(tokenizer, request.prompt_token_ids, params.skip_special_tokens) if tokenizer else None
        )
        self._searchable_from = 0  # stop strings are looked for from this place in the text on
        self.arrival_time_ns = time.time_ns()
        self.arrival_time = time.monotonic()
        self.first_scheduled_time = self.first_token_time = self.finished_time = 0.0

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated so far."""
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_uncomputed(self) -> int:
        """Tokens that must go through the model before the next one can be sampled."""
        return len(self.token_ids) - self.num_computed

    @property
    def banned_token_ids(self) -> frozenset[int]:
        """Tokens that must not be sampled next, because `min_tokens` is not reached."""
        early = self.num_output_tokens < self.params.min_tokens
        return self._eos.union(self.params.stop_token_ids or ()) if early else frozenset()

    def draw(self) -> float:
        """The uniform number in [0, 1) of the next token. Exactly one is drawn a token."""
        return self._random.random()

    def start(self, num_running: int) -> None:
        """Note a step that works on this sequence, in company of `num_running` in all."""
        if not self.first_scheduled_time:
            self.first_scheduled_time = time.monotonic()
        self.max_concurrency = max(self.max_concurrency, num_running)

    def append(self, token: int) -> None:
        """Add a sampled token, its text, and the verdict on whether the sequence ends here."""
        self.token_ids.append(token)
        now = time.monotonic()
        if self.num_output_tokens == 1:
            self.first_token_time = now
        self._judge_token(token)
        self._extend_text(token)
        if self.finish_reason:
            self.finished_time = now

    def _judge_token(self, token: int) -> None:
        if self.num_output_tokens > self.params.min_tokens:
            if token in self._eos:
                self.finish_reason = "stop"
                return
            if token in (self.params.stop_token_ids or ()):
                self.finish_reason, self.stop_reason = "stop", token
                return
        if self.num_output_tokens >= self.request.max_tokens:
            self.finish_reason = "length"

    def _extend_text(self, token: int) -> None:
        if self._detokenizer is None:
            return
        before = len(self.text)
        if self.finish_reason != "stop" or self.params.include_stop_str_in_output:
            self.text += self._detokenizer.push(token)
        if self.finish_reason:
            self.text += self._detokenizer.flush()
        if self.num_output_tokens > self.params.min_tokens:
            self._cut_at_stop_string(before)
        else:
            self._searchable_from = len(self.text)

    def _cut_at_stop_string(self, before: int) -> None:
        stops = self.params.stop_strings
        if not stops:
            return
        start = max(self._searchable_from, before - max(map(len, stops)) + 1)
        found = find_stop(self.text, start, stops)
        if found:
            place, stop = found
            self.text = self.text[: place + (len(stop) if self.params.include_stop_str_in_output else 0)]
            self.finish_reason, self.stop_reason = "stop", stop

    def output(self, device_memory_bytes: int) -> RequestOutput:
        """The result of a finished sequence."""
        completion = CompletionOutput(
            index=0,
            text=self.text,
            token_ids=self.token_ids[self.num_prompt_tokens :],
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
        )
        return RequestOutput(
            request_id=self.request_id,
            prompt=self.request.prompt,
            prompt_token_ids=list(self.request.prompt_token_ids),
            outputs=[completion],
            finished=self.finish_reason is not None,
            metrics=self._metrics(device_memory_bytes),
        )

    def _metrics(self, device_memory_bytes: int) -> RequestMetrics:
        return RequestMetrics(
            arrival_time_ns=self.arrival_time_ns,
            arrival_time=self.arrival_time,
            first_scheduled_time=self.first_scheduled_time,
            first_token_time=self.first_token_time,
            finished_time=self.finished_time,
            num_prompt_tokens=self.num_prompt_tokens,
            num_generation_tokens=self.num_output_tokens,
            max_concurrency=self.max_concurrency,
            device_memory_bytes=device_memory_bytes,
        )
