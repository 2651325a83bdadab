from __future__ import annotations

import asyncio
import json
import logging
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox_collector.errors import NotAllowed
from metavox_collector.observe import Health, Tracing, tracing
from metavox_collector.observe.logs import JsonLines


def test_whoever_asks_without_end_whether_it_is_ready_asks_the_database_once():
    asked: list[None] = []

    async def crowd() -> set[str | None]:
        health = Health(lambda: False, lambda: asked.append(None))
        return set(await asyncio.gather(*(health.trouble() for _ in range(50))))

    assert (asyncio.run(crowd()), len(asked)) == ({None}, 1)


def test_what_is_wrong_is_said_in_a_word_of_ours_and_nothing_of_its_cause():
    full: list[bool] = []

    def broken() -> None:
        raise RuntimeError("a detail of ours")

    async def told() -> list[str | None]:
        health = Health(lambda: bool(full), broken)
        first = await health.trouble()
        full.append(True)
        second = await health.trouble()
        health.is_draining = True
        return [first, second, await health.trouble()]

    assert asyncio.run(told()) == ["database", "full", "draining"]


def test_a_json_line_says_when_who_what_and_where_it_went_wrong():
    try:
        raise ValueError("some words")
    except ValueError:
        record = logging.LogRecord("ours", logging.ERROR, __file__, 1, "it is %s", ("so",), sys.exc_info())
    said = json.loads(JsonLines().format(record))
    assert (said["level"], said["logger"], said["message"]) == ("error", "ours", "it is so")
    assert said["time"].endswith("+00:00")
    assert "ValueError: some words" in said["traceback"]


def test_spans_hold_our_numbers_and_no_words_of_an_error():
    exporter = InMemorySpanExporter()
    traced = Tracing(exporter)
    with pytest.raises(ValueError, match="a word"), traced.span("commit", reports=3):
        raise ValueError("a word of somebody's")
    traced.end()
    (span,) = exporter.get_finished_spans()
    assert (span.name, dict(span.attributes or {}), span.events) == ("commit", {"metavox.reports": 3}, ())
    assert span.status.description is None


def test_nothing_is_traced_unless_it_is_asked_for():
    with tracing(wanted=False).span("receive") as span:
        assert span is None


def test_traces_that_cannot_be_sent_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(NotAllowed, match="pip install opentelemetry-exporter-otlp-proto-http"):
        tracing(wanted=True)
