"""llama-cpp-python: every completion of a ``Llama`` is a request, and so is ``Llama.generate`` called by itself.

All ways lead through ``Llama.generate``, which gives tokens one by one: there their moments are taken. Completions
around it say what was asked. A generator works only while it is asked for the next token, so the time in which its
consumer does something else is counted as nobody's.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from typing import Any

from metavox.telemetry.instrument.described import Asked, Measured
from metavox.telemetry.instrument.llama_cpp_model import describe
from metavox.telemetry.instrument.observer import Observer, quietly
from metavox.telemetry.instrument.patch import wrap

_SETTINGS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "temp": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
}
_operation: ContextVar[str] = ContextVar("metavox_llama_operation", default="text_completion")
_END: Any = object()
_current: ContextVar[Tokens | None] = ContextVar("metavox_llama_tokens", default=None)


def patch(observer: Observer) -> Callable[[], None]:
    """Wrap ``Llama``'s methods; gives back what undoes it. Raises ImportError without llama-cpp-python."""
    llama = import_module("llama_cpp.llama").Llama  # where it is while `llama_cpp` itself is still being loaded
    names = {name: _names(llama, name) for name in ("generate", "create_completion")}

    def chat(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = _operation.set("chat")
        try:
            return original(model, *args, **kwargs)
        finally:
            _operation.reset(before)

    def complete(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not observer.wants():
            return original(model, *args, **kwargs)
        given = {**dict(zip(names["create_completion"], args, strict=False)), **kwargs}
        tokens = Tokens(model, given, is_streamed=bool(given.get("stream")), operation=_operation.get())
        if given.get("stream"):
            chunks = original(model, *args, **kwargs)
            if not isinstance(chunks, Generator):  # somebody else has wrapped it, with what is no generator
                return chunks
            return _stream(observer, tokens, chunks)
        return _whole(observer, tokens, lambda: original(model, *args, **kwargs))

    def generate(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens, generated = _current.get(), original(model, *args, **kwargs)
        is_part = tokens is not None and tokens.model is model
        if not (is_part or observer.wants()) or not isinstance(generated, Generator):
            return generated
        given = {**dict(zip(names["generate"], args, strict=False)), **kwargs}
        if tokens is not None and is_part:
            tokens.prompted(given)
            return _timed(tokens, generated)
        alone = Tokens(model, given, is_streamed=True, operation="text_completion")
        alone.prompted(given)
        return _alone(observer, alone, generated)

    return wrap(llama, {"create_chat_completion": chat, "create_completion": complete, "generate": generate})


def _names(owner: type, method: str) -> tuple[str, ...]:
    return tuple(inspect.signature(getattr(owner, method)).parameters)[1:]


class Tokens:
    """The moments of one request's tokens, on a clock that stands still while nobody asks for the next one.

    Attributes:
        model: Whose they are; a model that drafts for another has its own, which are parts of the request.
        described: The model, looked at before its work begins: afterwards its memory may be given back, and to ask
            it then would end the process.
        count: How many came, the one that ends an answer included.
        last: Seconds of work until the last one.
    """

    def __init__(self, model: Any, given: Mapping[str, Any], *, is_streamed: bool, operation: str) -> None:
        self.model = model
        self.described = quietly(describe, model)
        self._settings = {to: given.get(name) for name, to in _SETTINGS.items() if given.get(name) is not None}
        self._is_streamed = is_streamed
        self._operation = operation
        self._input_tokens: int | None = None
        self.count = 0
        self._first = self.last = 0.0
        self.begin()

    def begin(self) -> None:
        """The engine starts to work on it; a generator does when it is first asked, not when it is made."""
        self._started = self._ended = time.time_ns()
        self._began, self._paused = time.perf_counter(), 0.0

    def now(self) -> float:
        """Seconds of work since the beginning."""
        return time.perf_counter() - self._began - self._paused

    def ended(self) -> float:
        """The engine has done its work; gives the seconds of it."""
        self._ended = time.time_ns()
        return self.now()

    def prompted(self, given: Mapping[str, Any]) -> None:
        """The prompt's tokens are known."""
        prompt = given.get("tokens")
        self._input_tokens = len(prompt) if isinstance(prompt, Sequence) else None

    def came(self) -> None:
        """A token is there."""
        self.last = self.now()
        self._first = self._first if self.count else self.last
        self.count += 1

    @contextmanager
    def pause(self) -> Iterator[None]:
        """The consumer has what came, and has not asked for more."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - since

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Tokens that come within this are of this request."""
        before = _current.set(self)
        try:
            yield
        finally:
            _current.reset(before)

    def asked(self) -> Asked:
        """What was asked."""
        return Asked(self._operation, self._started, self._is_streamed, self._settings, self._input_tokens)

    def measured(self, duration: float, reasons: tuple[str, ...] = ()) -> Measured:
        """What came, after so many seconds of work, and why it ended."""
        gaps = self.count - 1
        return Measured(
            end_time=self._ended,
            duration=duration,
            output_tokens=self.count,
            time_to_first_token=self._first if self.count else None,
            time_per_output_token=(self.last - self._first) / gaps if gaps > 0 else None,
            finish_reasons=reasons,
            concurrency=1,  # a Llama works on one sequence
        )


def _whole(observer: Observer, tokens: Tokens, complete: Callable[[], Any]) -> Any:
    with _told_when_failed(observer, tokens), tokens.counting():
        result = complete()
    duration = tokens.ended()
    quietly(lambda: _finished(observer, tokens, duration, _reasons(result)))
    return result


def _stream(observer: Observer, tokens: Tokens, chunks: Any) -> Generator[Any, None, None]:
    """The chunks as they come. A stream that is left before its answer has ended is no finished request."""
    reasons: tuple[str, ...] = ()
    tokens.begin()
    try:
        while True:
            with _told_when_failed(observer, tokens), tokens.counting():
                chunk = next(chunks, _END)
            if chunk is _END:
                return
            reasons = quietly(partial(_reasons, chunk)) or reasons
            with tokens.pause():
                yield chunk
    finally:
        duration = tokens.ended()
        chunks.close()
        if reasons:
            quietly(lambda: _finished(observer, tokens, duration, reasons))


def _reasons(result: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(choice["finish_reason"]) for choice in result["choices"] if choice.get("finish_reason"))


def _timed(tokens: Tokens, generated: Any) -> Generator[Any, Any, None]:
    """The tokens of a completion, each with its moment."""
    sent = None
    try:
        while True:
            try:
                token = generated.send(sent)
            except StopIteration:
                return
            tokens.came()
            sent = yield token
    finally:
        generated.close()


def _alone(observer: Observer, tokens: Tokens, generated: Any) -> Generator[Any, Any, None]:
    """The tokens of ``Llama.generate`` called by itself: it never ends, so whoever leaves it has had enough."""
    sent, has_failed = None, True
    tokens.begin()
    try:
        while True:
            try:
                with _told_when_failed(observer, tokens):
                    token = generated.send(sent)
            except StopIteration:
                break
            tokens.came()
            has_failed = False
            with tokens.pause():
                sent = yield token
            has_failed = True
    finally:
        tokens.ended()
        generated.close()
        if tokens.count and not has_failed:
            quietly(lambda: _finished(observer, tokens, tokens.last, ()))


def _finished(observer: Observer, tokens: Tokens, duration: float, reasons: tuple[str, ...]) -> None:
    if tokens.count:  # none were seen where the patches were taken back meanwhile
        observer.finished(tokens.described, [(tokens.asked(), tokens.measured(duration, reasons))])


def _failed(observer: Observer, tokens: Tokens, error: BaseException) -> None:
    observer.failed(tokens.described, [tokens.asked()], error, has_begun=tokens.count > 0)


@contextmanager
def _told_when_failed(observer: Observer, tokens: Tokens) -> Iterator[None]:
    try:
        with observer.request():
            yield
    except StopIteration:
        raise
    except BaseException as raised:
        quietly(_failed, observer, tokens, raised)
        raise
