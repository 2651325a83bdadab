from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox_collector.errors import NotAllowed
from metavox_collector.observe import Health, Metrics, Tracing, tracing
from metavox_collector.observe.logs import JsonLines, TextLines
from tests.waiting import FOR_EVER


def test_whoever_asks_without_end_whether_it_is_ready_asks_the_database_once(monkeypatch):
    monkeypatch.setattr("metavox_collector.observe.health._LASTS_S", FOR_EVER)
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


WORD = "tell" + "tale"  # apart, for the lines of code that failed are shown


def recorded(logger: str, message: str, *values: object) -> logging.LogRecord:
    """An error that came of another one, both with words of a sender's."""
    try:
        try:
            raise KeyError(WORD)
        except KeyError as error:
            raise ValueError(WORD) from error
    except ValueError:
        return logging.LogRecord(logger, logging.ERROR, __file__, 1, message, values, sys.exc_info())


def test_a_json_line_says_when_who_what_and_where_it_went_wrong():
    said = json.loads(JsonLines().format(recorded("metavox_collector.ours", "it is %s", "so")))
    assert (said["level"], said["logger"], said["message"]) == ("error", "metavox_collector.ours", "it is so")
    assert said["time"].endswith("+00:00")
    first, second = said["traceback"].split("Traceback (most recent call last):\n")[1:]
    assert (first.splitlines()[-1], second.splitlines()[-1]) == ("builtins.KeyError", "builtins.ValueError")
    assert "test_observe.py" in first


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
@pytest.mark.parametrize("message", ["it took %s", f"it took %s\nwhy: {WORD}"])
def test_the_words_of_errors_and_libraries_are_not_repeated(lines: logging.Formatter, message: str):
    written = lines.format(recorded("asyncio", message, WORD))
    assert "it took %s" in written
    assert "ValueError" in written
    assert WORD not in written


def test_what_nobody_catches_is_told_without_its_words_in_whatever_thread():
    script = """
import sys, threading, warnings
from metavox_collector.observe import logs
logs.configure("json")
logs.tell_of_the_uncaught()
def fail():
    raise KeyError("tell" + "tale")
class Dying:
    def __del__(self):
        fail()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
Dying()
warnings.warn("tell" + "tale", ResourceWarning)
fail()
"""
    told = subprocess.run([sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in told.stderr.splitlines()]
    assert [line["traceback"].splitlines()[-1] for line in lines] == ["builtins.KeyError"] * 3
    assert (told.returncode, WORD in told.stderr) == (1, False)


def test_a_verb_that_fails_by_a_fault_of_the_software_says_where_and_none_of_the_errors_words():
    script = """
from metavox_collector.cli import main, verbs
def fail():
    raise KeyError("tell" + "tale")
verbs.app_for = lambda _words: fail
main()
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (told.returncode, WORD in told.stderr) == (1, False)
    assert told.stderr.splitlines()[-1] == "builtins.KeyError"


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


def test_what_waits_and_what_is_held_is_shown_to_whoever_asks():
    metrics = Metrics()
    metrics.waiting(5)
    metrics.holds(7)
    said = metrics.text().decode()
    assert "metavox_collector_reports_waiting 5.0" in said
    assert "metavox_collector_body_bytes 7.0" in said
