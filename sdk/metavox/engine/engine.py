"""The engine: requests in, steps, finished requests out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import count
from typing import Protocol

from metavox.config import EngineInfo
from metavox.engine.checks import RequestChecks
from metavox.engine.logprobs import Describe
from metavox.engine.request import RequestState
from metavox.engine.runner import StepResult
from metavox.engine.scheduler import Scheduler, Slice
from metavox.engine.sequence import Request, Sequence
from metavox.engine.tokenizer import HubTokenizer
from metavox.engine.worker import Pending
from metavox.params import SamplingParams


class StepRunner(Protocol):
    """What the engine asks of a `Runner`."""

    def launch(self, plan: list[Slice]) -> Pending[StepResult]:
        """See `Runner.launch`."""
        ...

    def reset(self) -> None:
        """See `Runner.reset`."""
        ...

    def close(self) -> None:
        """See `Runner.close`."""
        ...

    def memory_bytes(self) -> int:
        """See `Runner.memory_bytes`."""
        ...


class Engine:
    """Runs many requests at once. Not thread-safe: see `Driver`.

    Args:
        info: what is loaded.
        runner: the model on its device.
        scheduler: who works when, and the blocks.
        checks: what a request must fulfil.
        tokenizer: None for a model without one.
        seed: from which the seeds of requests without their own are derived.
    """

    def __init__(
        self,
        info: EngineInfo,
        runner: StepRunner,
        scheduler: Scheduler,
        checks: RequestChecks,
        tokenizer: HubTokenizer | None,
        *,
        seed: int,
    ) -> None:
        self.info = info
        self.runner = runner
        self.scheduler = scheduler
        self.checks = checks
        self.tokenizer = tokenizer
        self._describe = Describe(tokenizer)
        self._seed = seed
        self._ordinals = count()
        self._states: dict[Sequence, RequestState] = {}
        self._launched: tuple[list[Slice], Pending[StepResult]] | None = None

    def step(self) -> list[RequestState]:
        """Set the next step going, then take in what the one before brought.

        Returns the requests that got something, the finished ones included. Only where a running sequence needs
        to know its tokens are they taken in before the next step is planned.
        """
        updated = self._take_in() if self.scheduler.in_lockstep else []
        plan = self.scheduler.schedule()
        launched = (plan, self.runner.launch(plan)) if plan else None
        updated += self._take_in()
        self._launched = launched
        return updated

    def _take_in(self) -> list[RequestState]:
        """Wait for the step under way, and add its tokens to their sequences."""
        if self._launched is None:
            return []
        plan, future = self._launched
        result = future.result()  # an interruption here leaves it to be waited for again
        self._launched = None
        now = time.monotonic()
        updated: dict[RequestState, None] = {}
        row = 0
        for piece, prompt_logprobs in zip(plan, result.prompt_logprobs, strict=True):
            state = self._states.get(piece.sequence)  # an aborted sequence has none any more
            if state is not None and piece.sequence.finish_reason is None:
                if prompt_logprobs is not None:
                    self._describe.prompt(state, piece, prompt_logprobs)
                if piece.num_sampled:
                    self._extend(piece, row, result, now)
                    updated[state] = None
            row += piece.num_sampled
        self._forget(sequence for piece in plan if (sequence := piece.sequence).finish_reason)
        return list(updated)

    def _extend(self, piece: Slice, row: int, result: StepResult, now: float) -> None:
        """Append a slice's tokens: the first, and each next one as long as the draft before it was right."""
        sequence = piece.sequence
        sequence.in_flight -= 1
        for at in range(piece.num_sampled):
            token = int(result.sampled.token_ids[row + at])
            self._describe.token(sequence, result.sampled, row + at)
            sequence.append(token, now)
            if sequence.finish_reason or piece.drafts is None or at == len(piece.drafts):
                break
            if token != piece.drafts[at]:
                break
        if piece.drafts is not None:
            sequence.num_drafted += len(piece.drafts)
            sequence.num_accepted += at
            # The cache also holds keys of drafts that were wrong; they are written over.
            sequence.num_computed = min(sequence.num_computed, sequence.num_tokens - 1)

    def _forget(self, sequences: Iterable[Sequence]) -> None:
        gone = [sequence for sequence in sequences if self._states.pop(sequence, None)]
        self.scheduler.remove(gone)

    @property
    def has_work(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self._states)

    def check(self, prompt: object, params: SamplingParams | None = None) -> Request:
        """Read a request, or refuse it; see `RequestChecks.check`. Any thread may call it."""
        return self.checks.check(prompt, params)

    def state(self, request: Request) -> RequestState:
        """A checked request, arriving now. Any thread may call it."""
        ordinal = next(self._ordinals)
        seed = request.params.seed
        return RequestState(
            str(ordinal),
            request,
            eos_token_ids=self.checks.defaults.eos_token_ids,
            seed=f"{self._seed}/{ordinal}" if seed is None else f"{seed}",
            tokenizer=self.tokenizer,
        )

    def add(self, state: RequestState) -> None:
        """Put a request in line, its completions one behind the other; one that is there already stays."""
        for sequence in state.sequences:
            if sequence not in self._states:
                self._states[sequence] = state
                self.scheduler.add(sequence)

    def abort(self, *states: RequestState) -> None:
        """End requests here and now, wherever they are; finished ones stay as they are."""
        sequences = [sequence for state in states for sequence in state.sequences]
        for sequence in sequences:
            sequence.abort()
        self._forget(sequences)

    def restart(self) -> None:
        """Begin every unfinished request again from the tokens that are known, after an interruption anywhere.

        Where this is interrupted itself, it can be called again.
        """
        self._begin_anew()
        for sequence in self._states:
            sequence.rewind()
        self._states = {sequence: state for sequence, state in self._states.items() if not sequence.finish_reason}
        for sequence in self._states:
            self.scheduler.add(sequence)

    def fail(self, error: Exception) -> list[RequestState]:
        """Forget every request; each ends with `error`. Returns them."""
        self._begin_anew()
        failed = list(dict.fromkeys(self._states.values()))
        self._states.clear()
        for state in failed:
            state.error = error
        return failed

    def close(self) -> None:
        """Give the model's memory back, once the step under way has run."""
        self.runner.close()

    def _begin_anew(self) -> None:
        self._launched = None
        self.runner.reset()
        self.scheduler.reset()
