from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox.outputs import RequestOutput
from metavox.params import SamplingParams
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.home import switch
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.journal.tally import Tally
from metavox.telemetry.recorder import Recorder
from metavox.telemetry.upload.weekly import preview
from metavox_privacy.anonymize import Record
from metavox_privacy.consent import Consent
from metavox_privacy.report import count
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from tests.spans import START, WEEK, example_span
from tests.unit.sdk.telemetry.shared import (
    CONSENT,
    INFO,
    NOW,
    YES,
    agree,
    contribution_to,
    example_output,
    home_in,
    journal_in,
    local_info,
    record_of,
)

PARAMS = SamplingParams()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path)


def counted(home: Home, *spans: Span) -> None:
    """Take spans, and write what is to be written."""
    contribution = contribution_to(home)
    contribution.on_spans(spans)
    contribution.flush()


def kept(home: Home) -> int:
    """How many requests the journal counts."""
    return sum(cell.requests for cell in journal_in(home).counts(WEEK).cells.values())


def test_after_a_yes_a_span_is_counted(home: Home):
    agree(home)
    counted(home, example_span())

    assert journal_in(home).counts(WEEK) == count([record_of()], WEEK, SCHEMA)


@pytest.mark.parametrize("environment", [{}, {"DO_NOT_TRACK": "1"}, {"METAVOX_TELEMETRY": "on"}, {"CI": "1"}])
def test_without_a_yes_no_file_is_made(home: Home, tmp_path: Path, environment: dict[str, str]):
    contribution = Contribution.from_environment(environment, home)
    contribution.on_spans([example_span()])
    contribution.flush()

    assert not contribution.wants()
    assert list(tmp_path.iterdir()) == []


def test_a_saved_yes_keeps_nothing_where_the_environment_says_no(home: Home):
    agree(home)
    contribution = Contribution.from_environment({"DO_NOT_TRACK": "1"}, home)
    contribution.on_spans([example_span()])
    contribution.flush()

    assert not home.journal_file.exists()


def test_what_began_before_the_yes_is_dropped_and_makes_no_journal(home: Home):
    agree(home, since=YES + timedelta(days=1))
    counted(home, example_span())

    assert not home.journal_file.exists()


def test_a_withdrawal_holds_for_a_program_that_is_running_and_drops_what_waits(home: Home):
    contribution = contribution_to(home)
    agree(home)
    contribution.on_span(example_span())
    contribution.flush()
    contribution.on_span(example_span())
    home.consent_file.unlink()
    contribution.flush()
    agree(home)

    assert kept(home) == 1


def test_what_waits_under_one_consent_is_not_written_under_another(home: Home):
    contribution = contribution_to(home)
    agree(home)
    contribution.on_span(example_span())
    agree(home, since=YES - timedelta(days=1))
    contribution.flush()

    assert not home.journal_file.exists()


def test_what_waits_is_not_carried_over_to_a_later_consent(home: Home, monkeypatch: pytest.MonkeyPatch):
    agree(home)
    now = [100.0]
    monkeypatch.setattr("metavox.telemetry.contribution.time", SimpleNamespace(monotonic=lambda: now[0]))
    later = replace(CONSENT, purposes=frozenset({"improve"}))
    contribution = contribution_to(home)
    contribution.on_spans([example_span()] * 3)
    agree(home, purposes=frozenset({"improve"}))
    now[0] += 1
    contribution.on_span(example_span())
    contribution.flush()

    (cell,) = journal_in(home, consent=later).counts(WEEK).cells.values()
    assert cell.requests == 1


def test_a_decision_is_asked_for_once_a_second_and_before_each_write(home: Home, monkeypatch: pytest.MonkeyPatch):
    agree(home)
    asked, now = [], [100.0]
    monkeypatch.setattr("metavox.telemetry.contribution.time", SimpleNamespace(monotonic=lambda: now[0]))

    def decide() -> Consent:
        asked.append(now[0])
        return home.consent({})

    contribution = Contribution(decide, lambda consent: journal_in(home, consent=consent))
    for moment in (100.0, 100.5, 100.99, 101.0, 101.5):
        now[0] = moment
        contribution.on_span(example_span())
    assert asked == [100.0, 101.0]
    contribution.flush()
    assert asked == [100.0, 101.0, 101.5]
    assert kept(home) == 5


def test_a_program_that_forces_it_off_is_obeyed_at_once(home: Home, monkeypatch: pytest.MonkeyPatch):
    agree(home)
    contribution = contribution_to(home)
    contribution.on_span(example_span())
    assert contribution.wants()
    monkeypatch.setattr(switch, "_forced_off", False)
    switch.force_off()

    assert not contribution.wants()
    contribution.on_span(example_span())
    contribution.flush()
    assert not home.journal_file.exists()


@pytest.mark.parametrize("where", ["while it is decided", "while it is counted", "while the writer is started"])
def test_a_request_that_a_finalizer_ends_in_the_middle_of_another_waits_for_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch, where: str
):
    agree(home)
    ended: list[str] = []

    def collected(here: str) -> None:
        """What a span does that is ended by the garbage collector, which comes in the middle of anything."""
        if here == where and not ended:
            ended.append(here)
            contribution.on_span(example_span())

    def add(tally: Tally, record: Record) -> None:
        collected("while it is counted")
        uninterrupted(tally, record)

    class Starting(threading.Thread):
        def __init__(self, **about: Any) -> None:
            collected("while the writer is started")
            super().__init__(**about)

    def decide() -> Consent:
        collected("while it is decided")
        return home.consent({})

    contribution = Contribution(decide, lambda consent: journal_in(home, consent=consent))
    request = threading.Thread(target=contribution.on_span, args=(example_span(),), daemon=True)
    uninterrupted = Tally.add
    monkeypatch.setattr(Tally, "add", add)
    monkeypatch.setattr("metavox.telemetry.writer.threading.Thread", Starting)
    request.start()
    request.join(20)

    assert ended == [where]
    assert not request.is_alive()
    contribution.flush()
    assert kept(home) == 2


def test_a_decision_that_fails_is_off(home: Home):
    def decide() -> Consent:
        raise RuntimeError("the disk is on fire")

    contribution = Contribution(decide, lambda consent: journal_in(home, consent=consent))
    contribution.on_span(example_span())

    assert not contribution.wants()


@pytest.mark.parametrize(
    "changes",
    [{"gen_ai__usage__input_tokens": 10**400}, {"hw__model": object()}, {"gen_ai__request__model": b"\xff"}],
)
def test_an_odd_span_raises_nothing(home: Home, changes: dict[str, object]):
    agree(home)
    counted(home, example_span(**changes))


def test_an_unwritable_disk_raises_nothing(home: Home):
    agree(home)
    home.state.write_text("a file where the folder should be")
    counted(home, example_span())


def test_a_locked_journal_raises_nothing(home: Home, monkeypatch: pytest.MonkeyPatch):
    agree(home)
    monkeypatch.setattr(Journal.add, "__kwdefaults__", {"patience": 0.05})
    counted(home, example_span())
    other = sqlite3.connect(home.journal_file)
    other.execute("BEGIN EXCLUSIVE")
    counted(home, example_span())
    other.close()

    assert kept(home) == 1


def test_a_damaged_journal_is_set_aside_and_nothing_more_is_kept(home: Home):
    agree(home)
    counted(home, example_span())
    home.journal_file.write_bytes(b"no database at all, and long enough to be read as one " * 40)
    counted(home, example_span())
    counted(home, example_span())

    assert [path.name for path in home.state.iterdir()] == ["journal.sqlite3.damaged"]


def test_the_recorder_contributes_finished_and_failed_requests(home: Home, monkeypatch: pytest.MonkeyPatch):
    agree(home)
    clock = SimpleNamespace(time_ns=lambda: START + 10**9)
    monkeypatch.setattr("metavox.telemetry.recorder.time", clock)
    contribution = contribution_to(home)
    recorder = Recorder(INFO, contribution)
    spans = recorder.finished([(example_output(), PARAMS), (example_output(), PARAMS)])
    failed = recorder.failed(RuntimeError("secret"), [(5, PARAMS), (None, PARAMS)], start_time=START)

    assert (len(spans), len(failed)) == (2, 2)
    assert all(span.end_time == START + 10**9 for span in failed)
    contribution.flush()
    assert kept(home) == 4


def test_where_nobody_traces_and_nothing_is_contributed_nothing_is_built(home: Home):
    def never() -> Iterator[tuple[RequestOutput, SamplingParams]]:
        raise AssertionError("an output was built for nobody")
        yield

    recorder = Recorder(INFO, contribution_to(home))

    assert recorder.finished(never()) == []
    assert recorder.failed(RuntimeError(), [(5, PARAMS)], start_time=START) == []
    assert "hardware" not in vars(recorder)


def test_whoever_traces_gets_spans_and_needs_no_consent(home: Home, exporter: InMemorySpanExporter):
    spans = Recorder(INFO, contribution_to(home)).finished([(example_output(), PARAMS)])

    assert [span.name for span in exporter.get_finished_spans()] == [span.name for span in spans]
    assert not home.journal_file.exists()


def test_a_recorder_that_cannot_describe_a_request_raises_nothing(home: Home):
    agree(home)
    recorder = Recorder(INFO, contribution_to(home))

    assert recorder.finished([(None, PARAMS)]) == []  # type: ignore[list-item]
    assert recorder.failed(RuntimeError(), [None], start_time=START) == []  # type: ignore[list-item]


@pytest.mark.usefixtures("exporter")
def test_one_span_that_an_exporter_breaks_on_costs_no_other(home: Home, monkeypatch: pytest.MonkeyPatch):
    offered = []

    def broken(span: Span) -> None:
        offered.append(span)
        raise RuntimeError

    monkeypatch.setattr("metavox.telemetry.recorder.emit", broken)
    spans = Recorder(INFO, contribution_to(home)).finished([(example_output(), PARAMS), (example_output(), PARAMS)])

    assert offered == spans
    assert len(spans) == 2


def test_a_device_that_cannot_be_described_costs_no_span(home: Home):
    agree(home)
    recorder = Recorder(replace(INFO, device="cuda:99"), contribution_to(home))
    (span,) = recorder.finished([(example_output(), PARAMS)])

    assert "hw.model" not in span.attributes
    assert span.attributes["metavox.hw.count"] == 1


def test_no_byte_of_the_journal_or_the_wire_holds_text_user_host_or_path(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    secrets = {
        "prompt": "the prompt of anna",
        "answer": "what the model told anna",
        "path": "/home/anna/models/secret-finetune",
        "user": "anna-quillfeather",
        "host": "annas-quillfeather-laptop",
    }
    # Given and long: a machine's own may be called vm, which occurs in any file by chance.
    for variable, name in (("USER", "user"), ("LOGNAME", "user"), ("HOSTNAME", "host")):
        monkeypatch.setenv(variable, secrets[name])
    monkeypatch.setattr(socket, "gethostname", lambda: secrets["host"])
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", secrets["host"], "6", "1", "x86_64")))
    agree(home)
    output = example_output(prompt=secrets["prompt"], text=secrets["answer"])
    params = SamplingParams(stop=[secrets["user"], secrets["host"]])
    contribution = contribution_to(home)
    Recorder(local_info(secrets["path"]), contribution).finished([(output, params)])
    contribution.on_span(example_span(**secrets, hw__model=secrets["host"]))
    contribution.flush()
    (shown,) = preview(journal_in(home), CONSENT, SCHEMA, NOW)

    assert kept(home) == 2
    for text in secrets.values():
        for part in (text, text.rsplit("/", 1)[-1]):
            assert part.encode() not in home.journal_file.read_bytes()
            assert part.encode() not in shown.body
