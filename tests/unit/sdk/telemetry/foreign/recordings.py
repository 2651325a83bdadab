"""Spans of other instrumentations, as they emitted them, given to a provider again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from tests.spans import START

FOLDER = Path(__file__).with_name("recorded")
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recording(name: str) -> Mapping[str, Any]:
    """The file of one instrumentation."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def provider_of(*processors: SpanProcessor) -> TracerProvider:
    """A provider that nobody else uses."""
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def replay(name: str, processor: SpanProcessor) -> None:
    """Give the spans of a recording to a processor, as requests one after the other."""
    provider = provider_of(processor)
    for span in recording(name)["spans"]:
        started = provider.get_tracer(span["scope"], span["scope_version"]).start_span(
            span["name"], kind=SpanKind[span["kind"]], attributes=span["attributes"], start_time=START
        )
        for event in span["events"]:
            started.add_event(event["name"], timestamp=START + event["time"])
        started.set_status(StatusCode[span["status"]])
        started.end(START + span["duration"])
