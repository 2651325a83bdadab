"""What a request gives back, in vLLM's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class CompletionOutput:
    """One completion of a prompt.

    `finish_reason` is "stop" (an end-of-sequence token, a stop token or a stop string), "length"
    (`max_tokens` or the model's context), or None while it is being generated. `stop_reason` is the stop
    string or stop token id that ended it, and None for the model's own end-of-sequence tokens.
    """

    index: int
    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None
    stop_reason: str | int | None


@dataclass(frozen=True)
class RequestMetrics:
    """When things happened to one request.

    Times are seconds on ``time.monotonic``'s clock; `arrival_time_ns` is the same moment as `arrival_time` in
    nanoseconds since the Unix epoch. `max_concurrency` is the largest number of sequences that ran in one
    step with this one, itself included. `device_memory_bytes` is the peak allocated on a CUDA device, and the
    size of the weights and the KV pool elsewhere.
    """

    arrival_time_ns: int
    arrival_time: float
    first_scheduled_time: float
    first_token_time: float
    finished_time: float
    num_prompt_tokens: int
    num_generation_tokens: int
    max_concurrency: int
    device_memory_bytes: int

    @property
    def time_in_queue(self) -> float:
        """Seconds from arrival until the first step that worked on the request."""
        return self.first_scheduled_time - self.arrival_time

    @property
    def time_to_first_token(self) -> float:
        """Seconds from arrival to the first output token (TTFT)."""
        return self.first_token_time - self.arrival_time

    @property
    def time_per_output_token(self) -> float | None:
        """Mean seconds between output tokens after the first (TPOT); None with fewer than two tokens."""
        if self.num_generation_tokens < 2:
            return None
        return (self.finished_time - self.first_token_time) / (self.num_generation_tokens - 1)

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

    `prompt` is None when the request was given as token ids.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    metrics: RequestMetrics

    def __str__(self) -> str:
        return self.outputs[0].text
