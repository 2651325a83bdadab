"""What the tests' programs do. It imports nothing of the journal, so that they come to it late."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider

from tests.spans import ATTRIBUTES

FOREIGN = {**ATTRIBUTES, "metavox.engine.name": "vllm", "server.address": "localhost"}
"""A request that another instrumentation tells; its span's times are those of the moment."""


def use(provider: TracerProvider, requests: int) -> None:
    """Requests of an engine on this machine, as an instrumentation of somebody else's tells them."""
    tracer = provider.get_tracer("somebody.elses.instrumentation")
    for _ in range(requests):
        tracer.start_span("chat", attributes=FOREIGN).end()
