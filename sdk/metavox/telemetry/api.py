"""The functions of ``metavox.telemetry``: how things stand, the question on an explicit call, and a switch."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from metavox.errors import MetaVoxError
from metavox.telemetry.home import switch
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import RECEIPT_VARIABLE
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.journal.ledger import StoredReport
    from metavox.telemetry.others.detection import OtherTelemetry
    from metavox.telemetry.question.answering import Question
    from metavox_privacy.consent import Consent
    from metavox_privacy.fields import Purpose


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand.

    Attributes:
        on: Whether contributions are kept.
        rule: Which rule decided that.
        purposes: What they may be used for, sorted.
        since: From when on requests count.
        consent_file: Where the answer is or would be kept.
        receipt_file: The receipt of a deployment that ``METAVOX_TELEMETRY_RECEIPT`` names, None when it names none.
        journal_file: Where the counts are or would be kept.
        weeks: ISO weeks in the journal with their state: ``counting``, ``due``, ``sent``, ``refused`` or
            ``withdrawn``; while off, and for counts of an earlier yes, ``kept`` for those that are neither counted
            nor sent now.
        due_at: The weeks that are not settled, each with the moment from which on its report may be sent.
        collector: The address that reports are sent to, None when none is named.
        problem: Why the journal could not be read, None when it could.
        others: The telemetry of other libraries here, as far as it is on.
    """

    on: bool
    rule: str
    purposes: tuple[Purpose, ...]
    since: datetime | None
    consent_file: Path
    receipt_file: Path | None
    journal_file: Path
    weeks: dict[str, str]
    due_at: dict[str, datetime]
    collector: str | None
    problem: str | None
    others: tuple[OtherTelemetry, ...]


def status(environment: Mapping[str, str] | None = None, home: Home | None = None) -> Status:
    """How things stand for this user in this process; writes nothing, whatever it finds.

    Args:
        environment: Another environment than the process's own.
        home: Other folders than the user's own.
    """
    from metavox.telemetry.others import detection as others

    environment = os.environ if environment is None else environment
    home = home or Home.from_environment(environment)
    consent, named = home.consent(environment), environment.get(RECEIPT_VARIABLE)
    weeks, problem = _weeks(home, consent)
    return Status(
        on=consent.granted,
        rule=consent.rule,
        purposes=tuple(sorted(consent.purposes)),
        since=consent.since,
        consent_file=home.consent_file,
        receipt_file=Path(named) if named else None,
        journal_file=home.journal_file,
        weeks={week: state for week, (state, _) in weeks.items()},
        due_at={week: due_at for week, (_, due_at) in weeks.items() if due_at is not None},
        collector=environment.get("METAVOX_COLLECTOR_URL") or None,
        problem=problem,
        others=tuple(other for other in others.found(environment) if other.is_on),
    )


def _weeks(home: Home, consent: Consent) -> tuple[dict[str, tuple[str, datetime | None]], str | None]:
    """Each week's state and, where it has one, the moment it is due; and what kept us from looking."""
    import sqlite3  # here, so that whoever only switches it off loads none

    from metavox.telemetry.journal.holdings import holdings

    try:
        found = holdings(home.journal_file)
    except (OSError, sqlite3.Error) as error:
        return {}, str(getattr(error, "strerror", None) or error)
    is_live, now = consent.granted and found.is_of(consent.since), datetime.now(timezone.utc)
    states = {str(held.report.week): _state(held.report, now, is_live=is_live) for held in found.weeks}
    return states, None


def _state(report: StoredReport, now: datetime, *, is_live: bool) -> tuple[str, datetime | None]:
    if report.outcome is not None:
        return report.outcome, None
    if not is_live:
        return "kept", None
    return ("due" if now >= report.week.end else "counting"), report.due_at


def consent() -> Status:
    """Show the notice and put both questions, in a notebook or at a Python prompt, and record the answer.

    A notebook with ipywidgets shows a panel with two boxes and two buttons, and records when a button is
    clicked; else the questions are asked in words. Nobody can answer for somebody else: there is no argument
    that says yes. Ctrl-C and the end of the input leave everything as it was.

    Returns:
        How things stand when the call returns; a panel is answered later, and ``status()`` tells of it then.

    Raises:
        MetaVoxError: nobody can be asked, because there is neither a terminal nor a notebook; or this is the
            superuser in somebody else's home; or somebody else answered meanwhile.
        sqlite3.Error, OSError: the answer cannot be written, or what was kept before a no not be deleted.
    """
    from metavox.telemetry.question.answering import Question

    in_notebook = _kernel_runs()
    if not in_notebook and not _on_terminal():
        raise MetaVoxError("The question needs a person: call telemetry.consent() at a terminal or in a notebook.")
    home = Home.from_environment(os.environ)
    question = Question.put(os.environ, home, "utf-8" if in_notebook else sys.stdout.encoding)
    if in_notebook and _has_widgets():
        _show_panel(question)
    else:
        _ask_in_words(question)
    return status()


def configure(*, enabled: bool) -> None:
    """Switch contributions off for this process and those it starts, at once and whatever anybody answered.

    It works before and after an engine was made. There is no way back in the same process, and no way on: a
    yes is a person's, and a program cannot say it for its users.

    Args:
        enabled: False.

    Raises:
        MetaVoxError: ``enabled`` is anything else.
    """
    if enabled is not False:
        raise MetaVoxError(
            "A program cannot say yes for its users: configure() takes enabled=False alone. "
            "A person says yes with 'metavox telemetry on', or with telemetry.consent() in a notebook."
        )
    switch.force_off()
    os.environ["METAVOX_TELEMETRY"] = "off"


def _show_panel(question: Question) -> None:
    from IPython.display import display

    from metavox.telemetry.question.example import example
    from metavox.telemetry.question.panel import Panel

    panel = Panel(question.finish, example, SCHEMA, question.language, has_said_yes=question.was_yes)
    display(panel.whole)  # type: ignore[no-untyped-call]  # IPython has no types for it


def _ask_in_words(question: Question) -> None:
    from metavox.telemetry.question.ask import Conversation, ask
    from metavox.telemetry.question.example import example
    from metavox.telemetry.question.wording import outcome

    columns = shutil.get_terminal_size().columns
    conversation = Conversation(sys.stdout, _input_line, columns, example, language=question.language)
    try:
        purposes = ask(conversation, SCHEMA)
    except NotImplementedError as error:  # what a kernel raises whose client cannot ask, as in a batch run
        raise MetaVoxError("Nobody can be asked here: this notebook runs without a person.") from error
    if purposes is None:
        conversation.say(conversation.words.as_before)
        return
    question.record(given := question.answered(purposes))
    conversation.say(outcome(given))


def _kernel_runs() -> bool:
    """Whether this is a notebook, whose kernel hands the question on to whoever sits there."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _has_widgets() -> bool:
    """Whether ipywidgets is there; a half installed one is not."""
    try:
        return import_module("ipywidgets") is not None
    except ImportError:
        return False


def _on_terminal() -> bool:
    """Whether a person can read and type."""
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _input_line() -> str:
    return input() + "\n"
