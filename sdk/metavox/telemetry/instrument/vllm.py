"""vLLM: every prompt of ``LLM.generate`` and ``LLM.chat`` is a request, with the times that vLLM itself took.

vLLM keeps times when it is made with ``disable_log_stats=False``. Without them a call with one prompt has its
duration, and one with several has none: vLLM works on them together, and when each ended is not told.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from metavox.telemetry.instrument.described import Asked, Measured
from metavox.telemetry.instrument.observer import Observer, quietly
from metavox.telemetry.instrument.patch import Wrapper, wrap
from metavox.telemetry.instrument.vllm_model import describe

_SETTINGS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
}


def patch(observer: Observer) -> Callable[[], None]:
    """Wrap ``LLM``'s methods; gives back what undoes it. Raises ImportError without vLLM."""
    llm = import_module("vllm.entrypoints.llm").LLM  # where it is while `vllm` itself is still being loaded
    generate = _wrapper(observer, llm.generate, "prompts", "text_completion")
    return wrap(llm, {"generate": generate, "chat": _wrapper(observer, llm.chat, "messages", "chat")})


def _wrapper(observer: Observer, method: Callable[..., Any], prompts: str, operation: str) -> Wrapper:
    names = tuple(inspect.signature(method).parameters)[1:]

    def call(original: Callable[..., Any], llm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not observer.wants():
            return original(llm, *args, **kwargs)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        start, began = time.time_ns(), time.perf_counter()
        try:
            with observer.request():
                outputs = original(llm, *args, **kwargs)
        except BaseException as raised:
            quietly(_tell_failed, observer, llm, [Asked(operation, start)] * _count(given.get(prompts)), raised)
            raise
        took = time.perf_counter() - began
        quietly(_tell, observer, llm, operation, given, outputs, start, took)
        return outputs

    return call


def _count(prompts: object) -> int:
    """How many requests a call was; a list of messages is one conversation."""
    if isinstance(prompts, list | tuple) and prompts and not isinstance(prompts[0], int):
        return 1 if isinstance(prompts[0], Mapping) and "role" in prompts[0] else len(prompts)
    return 1


def _tell_failed(observer: Observer, llm: Any, asked: Sequence[Asked], error: BaseException) -> None:
    observer.failed(describe(llm), asked, error)


def _tell(
    observer: Observer,
    llm: Any,
    operation: str,
    given: Mapping[str, Any],
    outputs: Sequence[Any],
    start_time: int,
    took: float,
) -> None:
    params = given.get("sampling_params")
    each = list(params) if isinstance(params, Sequence) else [params] * len(outputs)
    alone = len(outputs) == 1
    told = []
    for output, param in zip(outputs, each, strict=True):
        settings = {to: getattr(param, name, None) for name, to in _SETTINGS.items()}
        tokens = len(output.prompt_token_ids) if output.prompt_token_ids is not None else None
        asked = Asked(operation, _arrival(output.metrics, start_time), settings=settings, input_tokens=tokens)
        told.append((asked, measured(output, asked.start_time, took if alone else None)))
    observer.finished(describe(llm), told)


def measured(output: Any, start_time: int, took: float | None) -> Measured:
    """What vLLM tells of a finished request.

    Args:
        output: vLLM's `RequestOutput`, with `metrics` of either of its engines, or None there.
        start_time: Unix time in nanoseconds.
        took: Seconds of the whole call where it was this request alone.
    """
    tokens = [len(answer.token_ids) for answer in output.outputs]
    ttft, decode, duration = _times(output.metrics)
    duration = took if duration is None else duration
    gaps = tokens[0] - 1 if len(tokens) == 1 else 0  # several answers are told together
    return Measured(
        end_time=start_time + round(duration * 1e9) if duration is not None else time.time_ns(),
        duration=duration,
        output_tokens=sum(tokens),
        time_to_first_token=ttft,
        time_per_output_token=decode / gaps if decode and gaps > 0 else None,
        finish_reasons=tuple(str(answer.finish_reason) for answer in output.outputs if answer.finish_reason),
        concurrency=1 if took is not None and len(tokens) == 1 else None,
    )


def _times(metrics: Any) -> tuple[float | None, float | None, float | None]:
    """Seconds to the first token, from there to the last, and in all; None for what is not told."""
    if metrics is None:
        return None, None, None
    if getattr(metrics, "first_token_latency", None) is not None:  # since version 1 of its engine
        ttft = metrics.first_token_latency or None  # 0 where no token came
        decode = metrics.last_token_ts - metrics.first_token_ts
        return ttft, decode, None if ttft is None else ttft + decode
    arrival, first, finished = metrics.arrival_time, metrics.first_token_time, metrics.finished_time
    if arrival is None or first is None or finished is None:
        return None, None, None
    return first - arrival, (metrics.last_token_time or finished) - first, finished - arrival


def _arrival(metrics: Any, start_time: int) -> int:
    """When the request came, by vLLM's clock or else by ours, Unix time in nanoseconds."""
    arrival = getattr(metrics, "arrival_time", None)
    return round(arrival * 1e9) if arrival else start_time
