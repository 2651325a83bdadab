from __future__ import annotations

import os
import signal
import socket
import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider

from metavox.params import SamplingParams
from metavox.telemetry import ContributionProcessor
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.home import Home
from metavox.telemetry.recorder import Recorder
from metavox.telemetry.weekly import preview
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


def kept(home: Home) -> int:
    """How many requests the journal counts."""
    return sum(cell.requests for cell in journal_in(home).counts(WEEK).cells.values())


def test_after_a_yes_a_span_is_counted(home: Home):
    agree(home)
    contribution_to(home).on_span(example_span())

    assert journal_in(home).counts(WEEK) == count([record_of()], WEEK, SCHEMA)


@pytest.mark.parametrize("environment", [{}, {"DO_NOT_TRACK": "1"}, {"METAVOX_TELEMETRY": "on"}, {"CI": "1"}])
def test_without_a_yes_no_file_is_made(home: Home, tmp_path: Path, environment: dict[str, str]):
    Contribution.from_environment(environment, home).on_spans([example_span()])

    assert list(tmp_path.iterdir()) == []


def test_a_saved_yes_keeps_nothing_where_the_environment_says_no(home: Home):
    agree(home)
    Contribution.from_environment({"DO_NOT_TRACK": "1"}, home).on_spans([example_span()])

    assert not home.journal_file.exists()


def test_what_began_before_the_yes_is_dropped_and_makes_no_journal(home: Home):
    agree(home, since=YES + timedelta(days=1))
    contribution_to(home).on_span(example_span())

    assert not home.journal_file.exists()


def test_a_withdrawal_holds_for_a_program_that_is_running(home: Home):
    contribution = contribution_to(home)
    agree(home)
    contribution.on_span(example_span())
    home.consent_file.unlink()
    contribution.on_span(example_span())
    agree(home)

    assert kept(home) == 1


@pytest.mark.parametrize(
    "changes",
    [{"gen_ai__usage__input_tokens": 10**400}, {"hw__model": object()}, {"gen_ai__request__model": b"\xff"}],
)
def test_an_odd_span_raises_nothing(home: Home, changes: dict[str, object]):
    agree(home)
    contribution_to(home).on_span(example_span(**changes))


def test_an_unwritable_disk_raises_nothing(home: Home):
    agree(home)
    home.state.write_text("a file where the folder should be")
    contribution_to(home).on_span(example_span())


def test_a_locked_journal_raises_nothing(home: Home, monkeypatch: pytest.MonkeyPatch):
    import sqlite3

    agree(home)
    monkeypatch.setattr("metavox.telemetry.journal._WAIT", 0.05)
    contribution_to(home).on_span(example_span())
    other = sqlite3.connect(home.journal_file)
    other.execute("BEGIN EXCLUSIVE")
    contribution_to(home).on_span(example_span())
    other.close()

    assert kept(home) == 1


def test_the_recorder_contributes_finished_and_failed_requests(home: Home, monkeypatch: pytest.MonkeyPatch):
    agree(home)
    clock = SimpleNamespace(time_ns=lambda: START + 10**9)
    monkeypatch.setattr("metavox.telemetry.recorder.time", clock)
    recorder = Recorder(INFO, contribution_to(home))
    spans = recorder.finished([(example_output(), PARAMS), (example_output(), PARAMS)])
    failed = recorder.failed(RuntimeError("secret"), [(5, PARAMS), (None, PARAMS)], start_time=START)

    assert (len(spans), len(failed)) == (2, 2)
    assert all(span.end_time == START + 10**9 for span in failed)
    assert kept(home) == 4


def test_a_recorder_that_cannot_describe_a_request_raises_nothing(home: Home):
    recorder = Recorder(INFO, contribution_to(home))

    assert recorder.finished([(None, PARAMS)]) == []  # type: ignore[list-item]
    assert recorder.failed(RuntimeError(), [None], start_time=START) == []  # type: ignore[list-item]


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
    (shown,) = preview(journal_in(home), CONSENT, SCHEMA, NOW)

    assert kept(home) == 2
    for text in secrets.values():
        for part in (text, text.rsplit("/", 1)[-1]):
            assert part.encode() not in home.journal_file.read_bytes()
            assert part.encode() not in shown.body


class TestProcessor:
    """A real provider, and spans of somebody else's instrumentation."""

    def finish(self, home: Home, *, scope: str = "opentelemetry.instrumentation.other", **changes: object) -> None:
        span = example_span(**changes)
        processor = ContributionProcessor(contribution_to(home))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer(scope, "1.0")
        started = tracer.start_span("chat", attributes=dict(span.attributes), start_time=span.start_time)
        started.end(span.end_time)
        assert processor._waiting == [] or "gen_ai.prompt" not in processor._waiting[0].attributes
        provider.shutdown()

    def test_a_foreign_span_is_counted_like_our_own(self, home: Home):
        agree(home)
        self.finish(home, gen_ai__prompt="a secret", gen_ai__operation__name="chat")

        assert journal_in(home).counts(WEEK) == count([record_of()], WEEK, SCHEMA)

    def test_our_own_spans_are_not_counted_twice(self, home: Home):
        agree(home)
        self.finish(home, scope="metavox")

        assert not home.journal_file.exists()

    @pytest.mark.parametrize("provider", ["openai", "aws.bedrock", ["vllm"], ""])
    def test_a_request_to_a_remote_service_says_nothing_of_this_machine(self, home: Home, provider: object):
        agree(home)
        self.finish(home, metavox__engine__name=provider)

        assert not home.journal_file.exists()

    @pytest.mark.parametrize("operation", ["embeddings", "execute_tool", "invoke_agent"])
    def test_other_operations_are_not_requests(self, home: Home, operation: str):
        agree(home)
        self.finish(home, gen_ai__operation__name=operation)

        assert not home.journal_file.exists()

    def test_without_a_yes_no_file_is_made(self, home: Home, tmp_path: Path):
        self.finish(home)

        assert list(tmp_path.iterdir()) == []

    def test_a_forked_child_counts_nothing_of_its_parents_and_waits_for_no_lock_of_theirs(self, home: Home):
        agree(home)
        processor = ContributionProcessor(contribution_to(home))
        processor._waiting.append(example_span())
        with processor._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork beside torch's threads
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a child that waits for ever fails
                try:
                    processor.force_flush()
                    os._exit(0)
                finally:
                    os._exit(1)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert kept(home) == 0
        processor.force_flush()
        assert kept(home) == 1

    def test_a_full_batch_is_written_before_anybody_asks(self, home: Home):
        agree(home)
        processor = ContributionProcessor(contribution_to(home))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        span = example_span()
        for _ in range(64):
            provider.get_tracer("other").start_span(
                "chat", attributes=dict(span.attributes), start_time=span.start_time
            ).end(span.end_time)

        assert kept(home) == 64
