"""THE alias table: the schema's attributes under the names that other instrumentations give them.

All of them count tokens in tokens and time in seconds, so nothing is converted. What is read is what stands here:
a span may hold prompts, and nothing else of it is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metavox_privacy.fields import quantity
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import AttributeValue

MODEL = "gen_ai.request.model"
STREAM = "gen_ai.request.stream"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105 - a time
PER_TOKEN = "gen_ai.server.time_per_output_token"  # noqa: S105 - a time
ERROR = "error.type"

SOURCES: tuple[str, ...] = (*(d.source for d in SCHEMA.dimensions), *(m.source for m in SCHEMA.metrics))
"""The attributes that the schema reads."""

FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
"""The conventions' seconds to the first part of a stream; only streams have it."""

END_TO_END = "gen_ai.latency.e2e"
"""vLLM's and SGLang's seconds of a whole request, which no other span of theirs has."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    MODEL: (
        "llm.request.model",  # OpenLLMetry, older
        "llm.model_name",  # OpenInference
        "gen_ai.response.model",
    ),
    STREAM: (
        "gen_ai.is_streaming",  # OpenLLMetry
        "llm.is_streaming",  # OpenLLMetry, older
        "gen_ai.request.is_stream",  # OpenLIT, older
    ),
    INPUT_TOKENS: (
        "gen_ai.usage.prompt_tokens",  # GenAI conventions before 1.27, vLLM
        "llm.token_count.prompt",  # OpenInference
        "llm.usage.prompt_tokens",  # OpenLLMetry, older
    ),
    OUTPUT_TOKENS: (
        "gen_ai.usage.completion_tokens",  # GenAI conventions before 1.27, vLLM
        "llm.token_count.completion",  # OpenInference
        "llm.usage.completion_tokens",  # OpenLLMetry, older
    ),
    FIRST_TOKEN: (
        "gen_ai.latency.time_to_first_token",  # vLLM, SGLang
        FIRST_CHUNK,
        "gen_ai.client.inference.time_to_first_chunk",  # the conventions' metric, and its name before
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.server.ttft",  # OpenLIT, older
    ),
    PER_TOKEN: ("gen_ai.server.tbt",),  # OpenLIT, older
}
"""Other names of a source, in order of preference; the source's own name comes before them."""

DURATION = (
    "gen_ai.server.request.duration",
    END_TO_END,
    "gen_ai.client.inference.duration",  # the conventions' metric, and its name before
    "gen_ai.client.operation.duration",
)
"""A whole request's seconds, in order of preference: the time between tokens may follow from them."""

DECODE = "gen_ai.latency.time_in_model_decode"
"""vLLM's and SGLang's seconds from the first token to the last."""

FIRST_TOKEN_EVENTS = frozenset(
    (
        "First Token Stream Event",  # OpenInference
        "gen_ai.content.completion.chunk",  # OpenLLMetry
        "llm.content.completion.chunk",  # OpenLLMetry, older
    )
)
"""Events of which the first one's time is that of the first token."""

CHOICES = ("gen_ai.request.choice.count", "gen_ai.request.n", "llm.request.n")
"""How many answers one prompt got; their tokens are told together."""

PROVIDERS = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
"""Who answered: current conventions, older ones, OpenInference."""

ADDRESSES = ("server.address", "gen_ai.openai.api_base", "llm.openai.api_base", "server.name")
"""Where it answered: conventions, OpenLLMetry."""

OPERATIONS: Mapping[str, frozenset[str]] = {
    "gen_ai.operation.name": frozenset(("chat", "text_completion", "generate_content")),
    "llm.request.type": frozenset(("chat", "completion")),  # OpenLLMetry
    "openinference.span.kind": frozenset(("LLM",)),
}
"""What says that a model answered; embeddings, tools and agents are other things than the schema measures."""

TEXT = {"gen_ai.output.type": frozenset(("text", "json"))}
"""What says that it answered with text, where anything says; pictures and speech are other work."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an instrumentation tells of one request, before it is put into the schema's words.

    Attributes:
        attributes: The span's, by name.
        events: Names and Unix times in nanoseconds, in order.
        start_time: Unix time in nanoseconds.
        end_time: Unix time in nanoseconds.
        has_failed: Whether the span's status is an error.
        seen_by: Whether the engine itself tells it, or a client that sees what it is sent.
    """

    attributes: Mapping[str, Any]
    events: Sequence[tuple[str, int]]
    start_time: int
    end_time: int
    has_failed: bool = False
    seen_by: Literal["engine", "client"] = "client"


def is_request(attributes: Mapping[str, Any]) -> bool | None:
    """Whether a model answered a prompt; None when the span does not say what it is."""
    if any(name in attributes and attributes[name] not in kinds for name, kinds in TEXT.items()):
        return False
    return next((attributes[name] in kinds for name, kinds in OPERATIONS.items() if name in attributes), None)


def in_schema_words(told: Told) -> dict[str, AttributeValue]:
    """The attributes of the schema's sources: those that are told, and the times that follow from them."""
    read = {source: value for source in SOURCES if (value := first(told.attributes, names_of(source))) is not None}
    if told.has_failed:
        read.setdefault(ERROR, "_OTHER")  # the conventions' word for an error without a class
    if ERROR in read:
        return {name: value for name, value in read.items() if name not in (FIRST_TOKEN, PER_TOKEN)}
    return read | _times(told, read)


def names_of(source: str) -> tuple[str, ...]:
    """A source and its other names, in order of preference."""
    return (source, *ALIASES.get(source, ()))


def first(attributes: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of the first of these attributes that is there; None without one."""
    return next((attributes[name] for name in names if name in attributes), None)


def _times(told: Told, read: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Seconds to the first token and between tokens; what is contradicted or cannot be is taken out."""
    ttft = quantity(read.pop(FIRST_TOKEN, None))
    tpot = quantity(read.pop(PER_TOKEN, None)) or None  # OpenLIT writes 0 where it measured none
    stated = quantity(first(told.attributes, DURATION))
    event = _first_token_event(told)
    if ttft is None:
        ttft = event
    if event is not None or FIRST_CHUNK in told.attributes:
        read.setdefault(STREAM, True)
    if told.seen_by == "client" and read.get(STREAM) is False:
        ttft = tpot = None  # a client sees a whole answer at once; OpenLIT writes the duration there
    gaps = _gaps(told.attributes, read)
    duration = (told.end_time - told.start_time) / 1e9 if stated is None else stated
    # A span may end while the answer is still coming, as OpenLIT's does around Ollama's streams.
    if tpot is None and gaps and ttft is not None and ttft <= duration:
        decode = quantity(told.attributes.get(DECODE))
        tpot = (duration - ttft if decode is None else decode) / gaps or None
    found = {FIRST_TOKEN: ttft, PER_TOKEN: tpot}
    return {name: value for name, value in found.items() if value is not None}


def _first_token_event(told: Told) -> float | None:
    times = (time for name, time in told.events if name in FIRST_TOKEN_EVENTS)
    seconds = (next(times, told.start_time - 1) - told.start_time) / 1e9
    return seconds if seconds >= 0 else None


def _gaps(attributes: Mapping[str, Any], read: Mapping[str, AttributeValue]) -> int | None:
    """How many times one token followed another; None where that is not known."""
    tokens, choices = quantity(read.get(OUTPUT_TOKENS)), first(attributes, CHOICES)
    if tokens is None or tokens < 2 or choices not in (None, 1):
        return None
    return int(tokens) - 1
