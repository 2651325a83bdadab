"""What `LLM` and `AsyncLLM` do alike: prompts are checked, run and given back, and each request is told once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from metavox.calls import Conversation, Params, params_for_each
from metavox.errors import InvalidRequest, NonFiniteLogits
from metavox.outputs import RequestOutput
from metavox.progress import progress

if TYPE_CHECKING:
    from metavox.config import EngineInfo
    from metavox.engine.driver import Driver
    from metavox.engine.request import RequestState
    from metavox.engine.sequence import Request
    from metavox.params import SamplingParams
    from metavox.telemetry.recorder import Recorder

Output: TypeAlias = "Callable[[RequestState], RequestOutput]"


class Serving:
    """The way of a request from its prompt to its output, and past the recorder.

    Args:
        driver: the engine.
        recorder: what is told of every request that ends.
    """

    def __init__(self, driver: Driver, recorder: Recorder) -> None:
        self.driver = driver
        self.recorder = recorder

    def templated(self, messages: Conversation, template: Mapping[str, Any]) -> Any:
        """A conversation as a prompt; `template` as in `ChatTemplate`."""
        from metavox.engine.chat import apply_chat_template

        return apply_chat_template(messages, self.driver.engine.tokenizer, **template)

    def states(
        self, prompts: Sequence[Any], sampling_params: Params, *, is_chat: bool = False
    ) -> list[RequestState]:
        """Requests that were checked, ready to be put in line; `is_chat` says that they were conversations."""
        self.driver.refuse_if_lost()
        each = params_for_each(sampling_params, len(prompts))
        if len(prompts) == 1:
            requests = [self.driver.engine.check(prompts[0], each[0])]
        else:
            requests = [self._check(at, *pair) for at, pair in enumerate(zip(prompts, each, strict=True))]
        states = [self.driver.engine.state(request) for request in requests]
        for state in states:
            state.is_chat = is_chat
        return states

    def _check(self, at: int, prompt: Any, params: SamplingParams | None) -> Request:
        try:
            return self.driver.engine.check(prompt, params)
        except InvalidRequest as error:
            raise InvalidRequest(f"Prompt {at}: {error}") from error

    def run(
        self, prompts: Sequence[Any], sampling_params: Params, use_tqdm: bool, *, is_chat: bool = False
    ) -> list[RequestOutput]:
        """Check all prompts, run them, and give their outputs in order."""
        states = self.states(prompts, sampling_params, is_chat=is_chat)
        unfinished = list(reversed(states))

        def done() -> bool:
            while unfinished and unfinished[-1].finished:
                unfinished.pop()
            return not unfinished

        self.recorder.started()
        try:
            self.driver.submit(states)
            with progress(states, use_tqdm) as show:
                self.driver.drive(lambda: show() or done())
        except BaseException:
            self.drop(states)
            raise
        return self.finish(states)

    def drop(self, states: Sequence[RequestState]) -> None:
        """End what is still running of these; what had finished is counted all the same."""
        finished = [state for state in states if state.finished]
        self.driver.cancel(states)
        self.driver.settle()
        self.record(finished)

    def finish(self, states: Sequence[RequestState]) -> list[RequestOutput]:
        """The outputs of requests that have ended, or what ended them; they are counted."""
        outputs = {state: self.output(state) for state in states if state.error is None}
        self.record(states, outputs.__getitem__)
        return self.outcome(states, outputs.__getitem__)

    def outcome(self, states: Sequence[RequestState], output: Output | None = None) -> list[RequestOutput]:
        """The outputs of requests that have ended. Raises what ended them. `output` knows those that are made."""
        for state in states:
            if state.error is not None:
                raise state.error
        outputs = [*map(output or self.output, states)]
        failed = [at for at, output in enumerate(outputs) if _has_failed(output)]
        if failed:
            forms = any(states[at].request.params.structured_outputs for at in failed)
            raise _non_finite(self.driver.engine.info, failed, outputs, structured=forms)
        return outputs

    def output(self, state: RequestState) -> RequestOutput:
        """A request's result, as far as it is there."""
        return state.output(self.driver.engine.runner.memory_bytes())

    def record(self, states: Sequence[RequestState], output: Output | None = None) -> None:
        """Every request passes here once, finished or failed; one that the user interrupted did neither."""
        good, output = [state for state in states if not state.has_failed], output or self.output
        # At once, and lazily: where nobody traces and nothing is contributed, nothing is built.
        self.recorder.finished((output(state), state.request.params) for state in good)
        for state in states:
            if state.has_failed:
                self.recorder.failed(
                    state.error or _non_finite(self.driver.engine.info, [], []),
                    [(len(state.request.prompt_token_ids), state.request.params)],
                    start_time=state.arrival_time_ns,
                    is_streamed=state.is_streamed,
                    is_chat=state.is_chat,
                )


def _has_failed(output: RequestOutput) -> bool:
    return any(completion.finish_reason == "error" for completion in output.outputs)


def _non_finite(
    info: EngineInfo, failed: Sequence[int], outputs: Sequence[RequestOutput], *, structured: bool = False
) -> NonFiniteLogits:
    advice = "use dtype='bfloat16' or 'float32'" if info.dtype == "float16" else "its weights may be damaged"
    which = ", ".join(map(str, failed[:5])) + (", ..." if len(failed) > 5 else "")
    # The device gives the same answer where a form came to a place from which no token of the model goes on.
    other = ", or its structured_outputs cannot be gone on with by any token of the model" if structured else ""
    return NonFiniteLogits(
        f"The model produced NaN or infinity in {info.dtype} for prompt {which}; {advice}{other}.", outputs=outputs
    )
