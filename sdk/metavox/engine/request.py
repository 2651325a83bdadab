"""A request in the engine: its completions, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

from metavox.engine.sequence import Request, Sequence
from metavox.engine.tokenizer import Tokenizer
from metavox.outputs import CompletionOutput, Logprob, RequestMetrics, RequestOutput


class RequestState:
    """One request from its arrival to its end, with its n completions.

    Args:
        request_id: unique within the engine.
        request: what was asked.
        eos_token_ids: the model's end-of-sequence tokens.
        seed: from which each completion's is derived; any string.
        tokenizer: None leaves the texts empty.

    Attributes:
        error: why it ended without a result, None as a rule.
        is_streamed: whether its output is told as it comes.
        is_chat: whether its prompt was a conversation.
        on_update: called by whoever steps the engine, after each step that brought it something.
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
        self.error: Exception | None = None
        self.is_streamed = self.is_chat = False
        self.on_update: Callable[[], None] | None = None
        self.prompt_logprobs: list[dict[int, Logprob] | None] = [None]  # the first token follows nothing
        self.arrival_time_ns = time.time_ns()
        self.arrival_time = time.monotonic()
        self.sequences = [
            Sequence(
                request,
                index,
                eos_token_ids=eos_token_ids,
                seed=hashed_seed(f"{seed}#{index}"),
                tokenizer=tokenizer,
            )
            for index in range(request.params.n)
        ]

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.error is not None or all(sequence.finish_reason for sequence in self.sequences)

    @property
    def has_failed(self) -> bool:
        """Whether it ended without a result, or with one that the model computed no numbers for."""
        return self.error is not None or any(sequence.finish_reason == "error" for sequence in self.sequences)

    @property
    def num_generation_tokens(self) -> int:
        """Tokens generated so far, in all completions."""
        return sum(sequence.num_output_tokens for sequence in self.sequences)

    def output(self, device_memory_bytes: int) -> RequestOutput:
        """The result, as far as it is there."""
        outputs: list[CompletionOutput] = [sequence.output() for sequence in self.sequences]
        return RequestOutput(
            request_id=self.request_id,
            prompt=self.request.prompt,
            prompt_token_ids=self.request.prompt_token_ids.tolist(),
            outputs=outputs,
            finished=self.finished,
            metrics=self.metrics(device_memory_bytes),
            prompt_logprobs=None if self.request.params.prompt_logprobs is None else list(self.prompt_logprobs),
        )

    def metrics(self, device_memory_bytes: int) -> RequestMetrics:
        """When things happened to it."""
        started = [sequence.first_scheduled_time for sequence in self.sequences if sequence.first_scheduled_time]
        first = [sequence.token_times[0] for sequence in self.sequences if sequence.token_times]
        ended = max(sequence.finished_time for sequence in self.sequences)  # for what never came before it
        return RequestMetrics(
            arrival_time_ns=self.arrival_time_ns,
            arrival_time=self.arrival_time,
            first_scheduled_time=min(started, default=ended),
            first_token_time=min(first, default=ended),
            finished_time=ended,
            token_times=tuple(tuple(sequence.token_times) for sequence in self.sequences),
            num_prompt_tokens=len(self.request.prompt_token_ids),
            num_cached_tokens=self.sequences[0].num_cached_tokens,
            num_generation_tokens=self.num_generation_tokens,
            max_concurrency=max(sequence.max_concurrency for sequence in self.sequences),
            device_memory_bytes=device_memory_bytes,
            is_streamed=self.is_streamed,
            is_chat=self.is_chat,
        )


def hashed_seed(text: str) -> int:
    """64 bits that differ for different texts."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
