"""The functions of ``metavox.telemetry``: how things stand, and the question on an explicit call."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from metavox.errors import MetaVoxError
from metavox.telemetry.home import Home
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox_privacy.consent import Answer, Consent
    from metavox_privacy.fields import Purpose
    from metavox_privacy.span import AttributeValue


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand.

    Attributes:
        on: Whether contributions are kept.
        rule: Which rule decided that.
        purposes: What they may be used for, sorted.
        since: From when on requests count.
        consent_file: Where the answer is or would be kept.
        journal_file: Where the counts are or would be kept.
        weeks: ISO weeks in the journal with their state: ``counting``, ``due``, ``sent``,
            ``refused`` or ``withdrawn``; while off, ``kept`` for those that are neither counted nor sent now.
    """

    on: bool
    rule: str
    purposes: tuple[Purpose, ...]
    since: datetime | None
    consent_file: Path
    journal_file: Path
    weeks: dict[str, str]


def status(environment: Mapping[str, str] | None = None, home: Home | None = None) -> Status:
    """How things stand for this user in this process.

    Args:
        environment: Another environment than the process's own.
        home: Other folders than the user's own.

    Raises:
        sqlite3.Error, OSError: the journal cannot be read.
    """
    environment = os.environ if environment is None else environment
    home = home or Home.from_environment(environment)
    consent = home.consent(environment)
    return Status(
        consent.granted,
        consent.rule,
        tuple(sorted(consent.purposes)),
        consent.since,
        home.consent_file,
        home.journal_file,
        _weeks(home, consent),
    )


def _weeks(home: Home, consent: Consent) -> dict[str, str]:
    from metavox.telemetry.journal import Journal, weeks_kept

    if not consent.granted:
        return {str(week): state for week, state in weeks_kept(home.journal_file).items()}
    now = datetime.now(timezone.utc)
    reports = Journal(home.journal_file, consent, SCHEMA, now).reports()
    return {str(one.week): one.outcome or ("due" if now >= one.week.end else "counting") for one in reports}


def consent() -> Status:
    """Show the notice and ask both questions, in a notebook or at a Python prompt, and record the answer.

    Nobody can answer for somebody else: there is no argument that says yes.

    Returns:
        How things stand afterwards.

    Raises:
        MetaVoxError: nobody can be asked, because there is neither a terminal nor a notebook.
        sqlite3.Error, OSError: the answer cannot be written, or what was kept before a no not be deleted.
    """
    from metavox.telemetry.ask import Conversation, ask

    if not _somebody_is_there():
        raise MetaVoxError("The question needs a person: call telemetry.consent() at a terminal or in a notebook.")
    home = Home.from_environment(os.environ)
    columns = shutil.get_terminal_size().columns
    conversation = Conversation(sys.stdout, _input_line, columns, example, "a made-up run")
    record(home, ask(conversation, SCHEMA, datetime.now(timezone.utc)))
    return status()


def record(home: Home, given: Answer) -> None:
    """Write down an answer; after a no, delete what was kept under an earlier yes.

    Raises:
        sqlite3.Error, OSError: the disk does not let it.
    """
    home.record(given)
    if not given.purposes:
        from metavox.telemetry.journal import withdraw

        withdraw(home)


def _somebody_is_there() -> bool:
    """Whether a person can read and type: at a terminal, or in a notebook, whose kernel hands the question on."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None:
        return True
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _input_line() -> str:
    return input() + "\n"


def example(purposes: frozenset[Purpose]) -> bytes | None:
    """The bytes of a made-up request to the bundled model on this machine's kind of processor."""
    from metavox.telemetry.hardware import host_arch, os_type
    from metavox.telemetry.weekly import sample
    from metavox_privacy.consent import Consent
    from metavox_privacy.span import Span

    now = datetime.now(timezone.utc)
    moment = int(now.timestamp()) * 10**9
    attributes: dict[str, AttributeValue] = {
        "gen_ai.request.model": "metavox/tiny",
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.server.time_to_first_token": 0.03,
        "gen_ai.server.request.duration": 0.43,
        "metavox.engine.name": "metavox",
        "os.type": os_type(),
        "host.arch": host_arch() or "",
    }
    spans = [Span("example", moment, moment, attributes)]
    return sample(spans, Consent(purposes, now, "an example"), SCHEMA, secrets.token_bytes(32))
