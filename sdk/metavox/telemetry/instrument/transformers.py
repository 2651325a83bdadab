"""transformers: every outermost ``model.generate`` is as many requests as it has prompts.

The first token's moment is taken by a stopping criterion that never stops, which transformers calls after each
step, just before it looks itself whether to go on. What cannot be known is left out: of beam search, whose tokens
are not decided before the end, the times of tokens; of recipes that somebody else wrote, all times but the whole.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from metavox.telemetry.instrument.described import Asked, Measured
from metavox.telemetry.instrument.observer import Observer, quietly
from metavox.telemetry.instrument.patch import wrap
from metavox.telemetry.instrument.transformers_answer import Answer, peak_memory, read_answer
from metavox.telemetry.instrument.transformers_model import describe

_SETTINGS = {
    "max_new_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
}


def patch(observer: Observer) -> Callable[[], None]:
    """Wrap ``GenerationMixin.generate``; gives back what undoes it. Raises ImportError without transformers."""
    mixin = import_module("transformers.generation.utils").GenerationMixin
    names = tuple(inspect.signature(mixin.generate).parameters)[1:]

    is_compiling = import_module("torch").compiler.is_dynamo_compiling

    def generate(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # A compiler that traces `generate` itself would trace us too.
        if is_compiling() or not observer.wants() or not _speaks(model):
            return original(model, *args, **kwargs)
        placed = dict(zip(names, args, strict=False))
        if len(args) > len(names) or "kwargs" in placed or placed.keys() & kwargs.keys():
            return original(model, *args, **kwargs)  # a call that Python refuses
        return _observed(observer, original, model, {**placed, **kwargs})

    return wrap(mixin, {"generate": generate})


def _speaks(model: Any) -> bool:
    """Whether it answers text with text; speech and pictures are other work than the schema measures."""
    reads, writes = getattr(model, "main_input_name", "input_ids"), getattr(model, "output_modalities", ("text",))
    return reads == "input_ids" and "text" in writes


def _observed(observer: Observer, original: Callable[..., Any], model: Any, given: dict[str, Any]) -> Any:
    clock = Clock()
    called = quietly(lambda: _call(model, given))
    passed = given
    if called is not None and called.is_standard:
        passed = quietly(lambda: {**given, "stopping_criteria": _with_clock(given, clock)}) or given
    start, began = time.time_ns(), time.perf_counter()
    try:
        with observer.request():
            result = original(model, **passed)
    except BaseException as raised:
        if called is not None:
            quietly(_tell_failed, observer, model, called, start, raised, clock)
        raise
    took, end = time.perf_counter() - began, time.time_ns()
    if called is not None:
        quietly(_tell, observer, model, called, result, clock, start, began, took, end)
    return result


def _tell(
    observer: Observer,
    model: Any,
    call: Call,
    result: Any,
    clock: Clock,
    start_time: int,
    began: float,
    took: float,
    end_time: int,
) -> None:
    answers = read_answer(
        model,
        result,
        call.eos,
        call.prompt_length,
        call.num_prompts,
        has_other_ends=call.has_other_ends,
        peak_before=call.peak_before,
    )
    measured = _measured(call, answers, clock, began, took, end_time)
    observer.finished(describe(model), list(zip(_asked(call, start_time), measured, strict=True)))


def _tell_failed(
    observer: Observer, model: Any, call: Call, start_time: int, error: BaseException, clock: Clock
) -> None:
    observer.failed(describe(model), _asked(call, start_time), error, has_begun=clock.first is not None)


class Clock:
    """A stopping criterion that stops nothing and remembers when it was first asked.

    Attributes:
        first: `time.perf_counter` at the first token, None before.
        length: How many tokens the sequence had then.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.length = 0
        self._nothing: Any = None

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """No sequence is done: a tensor of False, shape (sequences,)."""
        if self.first is None:
            quietly(_wait_for, input_ids.device)
            self.first, self.length = time.perf_counter(), input_ids.shape[1]
        if self._nothing is None or self._nothing.shape[0] != input_ids.shape[0]:
            self._nothing = input_ids.new_zeros(input_ids.shape[0], dtype=import_module("torch").bool)
        return self._nothing


def _wait_for(device: Any) -> None:
    """The step that was given to a device is done; transformers waits for it after this, or one step later."""
    if device.type == "cpu":
        return
    module = import_module("torch").get_device_module(device)
    if hasattr(module, "current_stream"):  # other threads' work on the device is not waited for
        module.current_stream(device).synchronize()
    else:
        module.synchronize()


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of ``generate`` asks for.

    Attributes:
        num_prompts: Rows of the prompt's tensor.
        num_sequences: Answers to each.
        prompt_length: Columns of the sequence in front of the first new token.
        is_standard: Whether a stopping criterion may be added.
        tells_tokens: Whether a token is decided once it is there.
        is_streamed: Whether there is a streamer.
        eos: Ids of the tokens that end a sequence.
        has_other_ends: Whether anything else than these and the length may end one.
        peak_before: Bytes; see `peak_memory`.
        inputs: Gives each prompt's length without padding, None where it is not known.
        settings: ``gen_ai.request.*``.
    """

    num_prompts: int
    num_sequences: int
    prompt_length: int
    is_standard: bool
    tells_tokens: bool
    is_streamed: bool
    eos: tuple[int, ...]
    has_other_ends: bool
    peak_before: int | None
    inputs: Callable[[], list[int | None]]
    settings: Mapping[str, Any]


def _call(model: Any, given: Mapping[str, Any]) -> Call:
    def setting(name: str) -> Any:
        places = (given.get(name), getattr(given.get("generation_config"), name, None))
        values = (*places, getattr(model.generation_config, name, None))
        return next((value for value in values if value is not None), None)

    ids = given["inputs"] if given.get("inputs") is not None else given.get("input_ids")
    embeds = given.get("inputs_embeds")
    prompt = ids if ids is not None else embeds
    is_encoder_decoder = bool(getattr(model.config, "is_encoder_decoder", False))
    if is_encoder_decoder:
        begun = given.get("decoder_input_ids")
        prompt_length = 1 if begun is None else begun.shape[1]
    else:
        prompt_length = ids.shape[1] if ids is not None else 0 if embeds is not None else 1
    eos = setting("eos_token_id")
    return Call(
        num_prompts=1 if prompt is None else prompt.shape[0],
        num_sequences=setting("num_return_sequences") or 1,
        prompt_length=prompt_length,
        is_standard=given.get("custom_generate") is None and setting("cache_implementation") != "paged",
        tells_tokens=(setting("num_beams") or 1) == 1,
        is_streamed=given.get("streamer") is not None,
        eos=tuple(eos) if isinstance(eos, list | tuple) else () if eos is None else (int(eos),),
        has_other_ends=bool(given.get("stopping_criteria") or setting("stop_strings") or setting("max_time")),
        peak_before=peak_memory(model),
        inputs=lambda: _lengths(prompt, given.get("attention_mask")),
        settings={to: given.get(name) for name, to in _SETTINGS.items()},
    )


def _lengths(prompt: Any, mask: Any) -> list[int | None]:
    """The prompts' lengths without padding; without a mask, a padded prompt's is not known."""
    if prompt is None:
        return [None]
    if mask is not None and mask.ndim == 2 and mask.shape[0] == prompt.shape[0]:
        return [int(length) for length in mask.sum(1).tolist()]
    return [prompt.shape[1]] if prompt.shape[0] == 1 else [None] * prompt.shape[0]


def _with_clock(given: Mapping[str, Any], clock: Clock) -> Any:
    """The caller's criteria and ours, in a list of its own: the caller's stays as it is."""
    criteria = import_module("transformers").StoppingCriteriaList
    return criteria([*(given.get("stopping_criteria") or ()), clock])


def _asked(call: Call, start_time: int) -> list[Asked]:
    settings = {
        **call.settings,
        "gen_ai.request.choice.count": call.num_sequences if call.num_sequences > 1 else None,
    }
    return [Asked("text_completion", start_time, call.is_streamed, settings, length) for length in call.inputs()]


def _measured(
    call: Call, answers: list[Answer], clock: Clock, began: float, took: float, end_time: int
) -> list[Measured]:
    first = None if clock.first is None or not call.tells_tokens else clock.first - began
    return [
        Measured(
            end_time=end_time,
            duration=took,
            output_tokens=answer.tokens,
            time_to_first_token=first,
            time_per_output_token=_gap(first, took, answer.longest, call.prompt_length, clock),
            finish_reasons=answer.reasons,
            concurrency=call.num_prompts * call.num_sequences if call.is_standard and call.tells_tokens else None,
            memory_bytes=answer.memory_bytes,
        )
        for answer in answers
    ]


def _gap(first: float | None, took: float, steps: int | None, prompt_length: int, clock: Clock) -> float | None:
    """Mean seconds between tokens: all rows take each step together, until the longest of the call has ended."""
    at_first = clock.length - prompt_length
    if first is None or steps is None or at_first < 1 or steps <= at_first:
        return None
    return (took - first) / (steps - at_first)
