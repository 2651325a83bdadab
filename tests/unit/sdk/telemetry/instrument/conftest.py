"""A provider that the tests see into, and engines that are given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox.telemetry.foreign.instrumented import instrumented, remove
from tests.unit.sdk.telemetry.foreign.recordings import Kept


@pytest.fixture
def kept() -> Kept:
    """A contribution that is on."""
    return Kept()


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What the user's provider gets."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


@pytest.fixture(autouse=True)
def _given_back() -> Iterator[None]:
    yield
    for engine in instrumented():
        remove(engine)
