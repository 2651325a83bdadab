"""What a request gives back, in vLLM's names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NoReturn

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class Logprob:
    """How likely a token was.

    `logprob` is the natural logarithm of its probability before temperature, penalties and filters; `rank` is 1
    for the likeliest of the vocabulary; `decoded_token` is its text, or None for a model without a tokenizer.
    """

    logprob: float
    rank: int
    decoded_token: str | None


@dataclass(frozen=True)
class CompletionOutput:
    """One completion of a prompt.

    `finish_reason` is "stop" (an end-of-sequence token, a stop token or a stop string), "length"
    (`max_tokens` or the model's context), "abort" (cancelled), "error" (the model computed no numbers), or None
    while it is being generated. `stop_reason` is the stop string or stop token id that ended it, and None for
    the model's own end-of-sequence tokens. `logprobs`, where they were asked for, has for each token those of the
    likeliest tokens and its own, by token id; `cumulative_logprob` is the sum over the chosen tokens.
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None


@dataclass(frozen=True)
class RequestMetrics:
    """When things happened to one request.

    Times are seconds on ``time.monotonic``'s clock; `arrival_time_ns` is the same moment as `arrival_time` in
    nanoseconds since the Unix epoch. `token_times` has the moment of every output token, for each of the
    request's completions. `num_cached_tokens` of the prompt were taken from the KV cache. `max_concurrency` is
    the largest number of sequences that ran in one step with this one, itself included. `device_memory_bytes`
    is the peak allocated on a CUDA device, and the size of the weights and the KV pool elsewhere. `is_streamed`
    says that the output was told as it came, `is_chat` that the prompt was a conversation.
    """

    arrival_time_ns: int
    arrival_time: float
    first_scheduled_time: float
    first_token_time: float
    finished_time: float
    token_times: tuple[tuple[float, ...], ...]
    num_prompt_tokens: int
    num_cached_tokens: int
    num_generation_tokens: int
    max_concurrency: int
    device_memory_bytes: int
    is_streamed: bool = False
    is_chat: bool = False

    @property
    def time_in_queue(self) -> float:
        """Seconds from arrival until the first step that worked on the request."""
        return self.first_scheduled_time - self.arrival_time

    @property
    def time_to_first_token(self) -> float:
        """Seconds from arrival to the first output token (TTFT)."""
        return self.first_token_time - self.arrival_time

    @property
    def prefill_time(self) -> float:
        """Seconds from the first step that worked on the request to the first output token."""
        return self.first_token_time - self.first_scheduled_time

    @property
    def inter_token_latencies(self) -> tuple[float, ...]:
        """Seconds between each output token and the one before it, one completion after the other."""
        return tuple(after - before for times in self.token_times for before, after in pairwise(times))

    @property
    def time_per_output_token(self) -> float | None:
        """Mean seconds between a completion's output tokens after its first (TPOT); None where none has two."""
        gaps = sum(max(0, len(times) - 1) for times in self.token_times)
        spans = sum(times[-1] - times[0] for times in self.token_times if times)
        return spans / gaps if gaps else None

    @property
    def output_tokens_per_second(self) -> float | None:
        """The decode rate, 1 / TPOT; None with fewer than two tokens."""
        seconds = self.time_per_output_token
        return 1 / seconds if seconds else None

    @property
    def request_duration(self) -> float:
        """Seconds from arrival until the last token."""
        return self.finished_time - self.arrival_time


@dataclass(frozen=True)
class RequestOutput:
    """A prompt and what was generated for it. ``str()`` of it is the text of the first completion.

    `prompt` is None when the request was given as token ids. `prompt_logprobs`, where they were asked for, has
    None for the first token of the prompt and for each later one the same as `CompletionOutput.logprobs`.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    metrics: RequestMetrics
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None

    @property
    def num_cached_tokens(self) -> int:
        """Tokens of the prompt whose keys and values were already in the cache."""
        return self.metrics.num_cached_tokens

    def __str__(self) -> str:
        return self.outputs[0].text

    if not TYPE_CHECKING:  # type checkers see by themselves that it is no list

        def __getitem__(self, index: object) -> NoReturn:
            """Also what a ``for`` meets; vLLM gives a list for a single prompt too."""
            raise TypeError(
                "A RequestOutput is no list: one prompt gives one, and only a list of prompts a list of them. "
                "Leave out the [0] or the loop, or give [prompt]."
            )


@dataclass(frozen=True)
class CompletionChunk:
    """What a stream yields: what is new of one completion. ``str()`` of it is its text.

    `text` and `token_ids` are new since the last chunk of the same `index`; text that may turn out to be the
    beginning of a stop string, or is half a character, comes with a later chunk. `finish_reason` and
    `stop_reason` are those of `CompletionOutput`, on the completion's last chunk. `output` is the whole
    request's, on its last chunk.
    """

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None
    output: RequestOutput | None = None

    def __str__(self) -> str:
        return self.text
