from __future__ import annotations

import builtins
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox import telemetry
from metavox.errors import MetaVoxError
from metavox.telemetry.home import switch
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import withdraw
from metavox.telemetry.question.example import example
from metavox.telemetry.upload.readable import as_document
from metavox.telemetry.upload.uploader import Unreachable
from metavox_privacy.automation import CI_VARIABLES
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import decode
from tests.spans import BOTH, WEEK, example_span
from tests.unit.sdk.telemetry.shared import agree, contribution_to, home_in, journal_in, record_of, tally_of, tried


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAVOX_HOME", str(tmp_path))
    return tmp_path


def typing(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Make these the lines that a person types in a notebook without ipywidgets; then the input ends."""
    left: Iterator[str] = iter(lines)

    def read() -> str:
        for line in left:
            return line
        raise EOFError

    monkeypatch.setattr(builtins, "input", read)
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", ipython)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # type: ignore[arg-type]


def test_status_of_a_new_user_is_off_and_makes_no_file(tmp_path: Path):
    found = telemetry.status({}, home_in(tmp_path))

    assert (found.on, found.purposes, found.since, found.weeks) == (False, (), None, {})
    assert list(tmp_path.iterdir()) == []


def test_status_after_a_yes(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    found = telemetry.status({}, home)

    assert (found.on, found.purposes, found.rule) == (True, ("improve", "publish"), "the recorded consent")
    assert found.consent_file == home.consent_file
    assert not home.journal_file.exists()


def test_status_names_the_weeks_that_are_kept_while_it_is_off_and_changes_nothing(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    journal_in(home).add(tally_of([record_of()]))
    before = home.journal_file.read_bytes()
    found = telemetry.status({"DO_NOT_TRACK": "1"}, home)

    assert (found.on, found.weeks) == (False, {str(WEEK): "kept"})
    assert home.journal_file.read_bytes() == before
    assert tried(home, Unreachable("away")) == [WEEK]
    withdraw(home)
    assert telemetry.status({"DO_NOT_TRACK": "1"}, home).weeks == {str(WEEK): "withdrawn"}


def test_consent_shows_the_notice_and_records_each_answer(home: Path, monkeypatch, capsys):
    typing(monkeypatch, "n", "y")
    found = telemetry.consent()
    given = parse_receipt((home / "consent.json").read_text())

    assert "SOLD" in capsys.readouterr().out
    assert given is not None
    assert given.purposes == {"publish"}
    assert not found.on  # a test runs, and a test is an automated build
    assert "automated build or test" in found.rule


@pytest.mark.parametrize("shell", [None, SimpleNamespace(kernel=None)], ids=["no IPython", "IPython, no kernel"])
def test_consent_takes_no_answer_from_a_pipe(home: Path, monkeypatch, capsys, shell: object):
    typing(monkeypatch, "y", "y")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    with pytest.raises(MetaVoxError, match="needs a person"):
        telemetry.consent()

    assert capsys.readouterr().out == ""
    assert list(home.iterdir()) == []


def test_consent_takes_no_answer_from_what_is_closed(home: Path, monkeypatch: pytest.MonkeyPatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdin", closed)
    with pytest.raises(MetaVoxError, match="needs a person"):
        telemetry.consent()


def test_a_no_to_both_questions_deletes_what_an_earlier_yes_kept(home: Path, monkeypatch, capsys):
    journal_in(Home(home, home)).add(tally_of([record_of()]))
    typing(monkeypatch, "n", "n")
    telemetry.consent()

    assert [path.name for path in home.iterdir()] == ["consent.json"]


def test_the_end_of_input_leaves_everything_as_it_was(home: Path, monkeypatch, capsys):
    typing(monkeypatch, "y")
    telemetry.consent()

    assert "Nothing was answered, so everything is as it was." in capsys.readouterr().out
    assert list(home.iterdir()) == []


def test_a_notebook_that_runs_without_a_person_is_told_so(home: Path, monkeypatch, capsys):
    typing(monkeypatch)

    def nobody() -> str:  # as ipykernel answers a client that cannot ask
        raise NotImplementedError("raw_input was called, but this frontend does not support input requests.")

    monkeypatch.setattr(builtins, "input", nobody)
    with pytest.raises(MetaVoxError, match="Nobody can be asked here"):
        telemetry.consent()

    assert list(home.iterdir()) == []


def test_the_superuser_is_not_asked_in_somebody_elses_home(home: Path, monkeypatch, capsys):
    typing(monkeypatch, "y", "y")
    monkeypatch.setattr(Home, "is_foreign", lambda home: True)
    with pytest.raises(MetaVoxError, match="without sudo"):
        telemetry.consent()

    assert list(home.iterdir()) == []


def test_consent_takes_no_argument_that_could_say_yes_for_somebody():
    with pytest.raises(TypeError):
        telemetry.consent(True)  # type: ignore[call-arg]


def test_the_example_is_a_report_of_this_week_that_a_collector_would_take():
    before = Week.of(datetime.now(timezone.utc))
    body = example(BOTH)
    assert body is not None
    (report,) = decode(ExportTraceServiceRequest.FromString(body), SCHEMA)

    assert isinstance(report, Report)
    assert report.week in (before, Week.of(datetime.now(timezone.utc)))  # it may turn meanwhile


def test_the_readable_form_holds_everything_that_is_in_the_bytes():
    body = example(BOTH)
    assert body is not None
    (document,) = as_document(body)
    (span,) = document["spans"]

    assert set(span["attributes"]) <= {field.attribute for field in (*SCHEMA.dimensions, *SCHEMA.metrics)}
    for name in (*span["attributes"], *document["resource"], span["name"], span["scope"]):
        assert name.encode() in body


def test_the_processor_is_there_and_other_names_are_not():
    assert telemetry.ContributionProcessor.__name__ == "ContributionProcessor"
    with pytest.raises(AttributeError, match="no attribute 'on'"):
        telemetry.on  # noqa: B018  # the access is the test


@pytest.fixture
def _own_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own, as far as the switch goes."""
    monkeypatch.setattr(switch, "_forced_off", False)
    monkeypatch.setenv("METAVOX_TELEMETRY", "on")


@pytest.mark.usefixtures("_own_switch")
def test_configure_switches_off_what_is_there_already_and_what_comes_later(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    before = contribution_to(home)
    assert before.wants()
    telemetry.configure(enabled=False)

    assert not before.wants()
    assert not contribution_to(home).wants()
    assert home.consent({}).rule == "this program has called metavox.telemetry.configure(enabled=False)"
    before.on_span(example_span())
    before.flush()
    assert not home.journal_file.exists()


@pytest.mark.usefixtures("_own_switch")
@pytest.mark.parametrize("shell", [False, True], ids=["exec", "shell"])
def test_configure_switches_off_children_too(tmp_path: Path, shell: bool):
    home = Home(tmp_path, tmp_path)
    agree(home)
    telemetry.configure(enabled=False)
    ask = [sys.executable, "-c", "from metavox import telemetry; print(telemetry.status().rule)"]
    environment = {name: value for name, value in os.environ.items() if name not in CI_VARIABLES}
    said = subprocess.run(
        shlex.join(ask) if shell else ask,
        shell=shell, env={**environment, "METAVOX_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    assert said == "METAVOX_TELEMETRY is off\n"


@pytest.mark.usefixtures("_own_switch")
@pytest.mark.parametrize("value", [True, None, 0, "", "no"], ids=repr)
def test_a_program_cannot_say_yes_nor_anything_unclear(value: object):
    with pytest.raises(MetaVoxError, match="cannot say yes for its users"):
        telemetry.configure(enabled=value)  # type: ignore[arg-type]

    assert not switch.is_forced_off()
    assert os.environ["METAVOX_TELEMETRY"] == "on"


def test_configure_takes_its_argument_by_name_alone():
    with pytest.raises(TypeError):
        telemetry.configure(False)  # type: ignore[call-arg,misc]
    with pytest.raises(TypeError):
        telemetry.configure()  # type: ignore[call-arg]
