"""A request of another engine -> Span, in the words that MetaVox's own requests have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from metavox.telemetry.hardware import Hardware
from metavox.telemetry.spans import hardware_attributes, known
from metavox_privacy.span import AttributeValue, Span


@dataclass(frozen=True, slots=True)
class Model:
    """What is loaded, and on what. What is not known is None.

    Attributes:
        name: A public hub id, or a path written so that no hub id looks like it; see `local_name`.
        architecture: In the words of the hub's configurations.
        num_parameters: How many.
        number_format: Of the weights, "bfloat16", "int4", "gguf", ...
        hardware: What it runs on.
    """

    name: str
    architecture: str | None
    num_parameters: int | None
    number_format: str | None
    hardware: Hardware


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked.

    Attributes:
        operation: "text_completion" or "chat".
        start_time: When it was called, Unix time in nanoseconds.
        is_streamed: Whether the answer is told as it comes.
        settings: ``gen_ai.request.*`` attributes, None where nothing was said.
        input_tokens: The prompt's length, None while it is not known.
    """

    operation: str
    start_time: int
    is_streamed: bool = False
    settings: Mapping[str, AttributeValue | None] = field(default_factory=dict)
    input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What came back. Times are seconds; what could not be measured is None.

    Attributes:
        end_time: Unix time in nanoseconds.
        duration: From the call to the last token.
        output_tokens: Of all answers to the prompt.
        time_to_first_token: From the call.
        time_per_output_token: The mean after the first.
        finish_reasons: Of each answer.
        concurrency: How many sequences ran in one step.
        memory_bytes: The peak on the device.
    """

    end_time: int
    duration: float | None = None
    output_tokens: int | None = None
    time_to_first_token: float | None = None
    time_per_output_token: float | None = None
    finish_reasons: tuple[str, ...] = ()
    concurrency: int | None = None
    memory_bytes: int | None = None


def finished_span(engine: str, version: str | None, model: Model, asked: Asked, measured: Measured) -> Span:
    """Describe one finished request.

    Args:
        engine: Its name in the schema.
        version: Of the engine's library.
        model: What answered.
        asked: The request.
        measured: The answer; of it nothing but lengths and times.
    """
    tpot = measured.time_per_output_token
    attributes = {
        **_common(engine, version, model, asked),
        "gen_ai.response.model": model.name,
        "gen_ai.response.finish_reasons": measured.finish_reasons or None,
        "gen_ai.usage.output_tokens": measured.output_tokens,
        "gen_ai.server.time_to_first_token": measured.time_to_first_token,
        "gen_ai.server.time_per_output_token": tpot,
        "gen_ai.server.request.duration": measured.duration,
        "metavox.output_tokens_per_second": 1 / tpot if tpot else None,
        "metavox.device.memory.peak": measured.memory_bytes,
        "metavox.request.concurrency": measured.concurrency,
    }
    return Span(f"{asked.operation} {model.name}", asked.start_time, measured.end_time, known(attributes))


def failed_span(
    engine: str, version: str | None, model: Model, asked: Asked, error: BaseException, end_time: int
) -> Span:
    """Describe one request that raised; of the error only its type is told. Arguments as `finished_span`'s."""
    attributes = {**_common(engine, version, model, asked), "error.type": type(error).__qualname__}
    return Span(f"{asked.operation} {model.name}", asked.start_time, end_time, known(attributes))


def _common(engine: str, version: str | None, model: Model, asked: Asked) -> dict[str, AttributeValue | None]:
    return {
        "gen_ai.operation.name": asked.operation,
        "gen_ai.provider.name": engine,
        "gen_ai.request.model": model.name,
        "gen_ai.request.stream": asked.is_streamed,
        **asked.settings,
        "gen_ai.usage.input_tokens": asked.input_tokens,
        "metavox.engine.name": engine,
        "metavox.engine.version": version,
        "metavox.model.architecture": model.architecture,
        "metavox.model.parameters": model.num_parameters,
        "metavox.model.quantization": model.number_format,
        **hardware_attributes(model.hardware),
    }


def local_name(path: str) -> str:
    """A path, written so that no hub id looks like it."""
    return path if os.path.isabs(path) or path.startswith((".", "~")) else os.path.join(".", path)


def hub_name(name: str) -> str:
    """A hub id, or, where a folder of that name is here, that folder's path."""
    parts = name.split("/")
    looks_public = len(parts) <= 2 and all(parts) and not os.path.isabs(name) and "\\" not in name
    return name if looks_public and not os.path.exists(name) else local_name(name)
