"""The question after the first successful run at a terminal: once, on standard error, and never anywhere else."""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from metavox.cli import console
from metavox.errors import MetaVoxError
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import Answer, Consent, Evidence, Unreadable, decide
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import notice_hash
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.config import EngineInfo
    from metavox.outputs import RequestOutput
    from metavox.params import SamplingParams
    from metavox.telemetry.question.answering import Question

Batch: TypeAlias = "Sequence[tuple[RequestOutput, SamplingParams]]"


def may_ask(evidence: Evidence, *, on_terminals: bool, is_root: bool, can_be_kept: bool, now: datetime) -> bool:
    """Whether the question may be asked at all: nobody has answered, somebody is there, nothing forbids a yes.

    Args:
        evidence: What a decision looks at.
        on_terminals: Whether all three standard streams are terminals.
        is_root: Whether this is the superuser.
        can_be_kept: Whether there is a place for the answer; without one, each run would ask again.
        now: To know whether a "not now" is over.
    """
    if not (on_terminals and can_be_kept) or is_root or not _unanswered(evidence.answer, now):
        return False
    yes = Answer(frozenset(PURPOSES), now, notice_hash(SCHEMA), SCHEMA.version)
    is_on = decide(evidence, now).granted  # by the receipt of a deployment
    return not is_on and decide(replace(evidence, authorization=None, answer=yes), now).granted


def _unanswered(given: Answer | Unreadable | None, now: datetime) -> bool:
    if not isinstance(given, Answer):
        return given is None
    return given.ask_again_after is not None and now >= given.ask_again_after


def maybe_ask(info: EngineInfo, batch: Batch) -> None:
    """Ask, if this is the moment, and record the answer; what went wrong is told in a line and harms nothing.

    Args:
        info: The engine that has just run.
        batch: What it has just finished, for the bytes that ``p`` shows.
    """
    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    is_moment = may_ask(
        home.evidence(os.environ),
        on_terminals=console.on_terminals(),
        is_root=console.is_root(),
        can_be_kept=_can_be_written(home.config),
        now=now,
    )
    if not is_moment:
        return
    from metavox.telemetry.question.answering import Question

    question = Question.put(os.environ, home, sys.stderr.encoding)
    try:
        console.note(_ask(question, info, batch, now))
    except MetaVoxError as error:  # another run asked at the same time, and its answer stands
        console.note(f"metavox: {error}")
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        console.note(f"metavox: the answer could not be saved, so nothing is kept: {reason}")


def _can_be_written(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, takes a new file or folder."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _ask(question: Question, info: EngineInfo, batch: Batch, now: datetime) -> str:
    """Ask and record; gives back what the answer means."""
    from metavox.telemetry.question.ask import Conversation, ask
    from metavox.telemetry.question.wording import outcome

    console.forget_typed()
    console.note("")
    conversation = Conversation(
        sys.stderr,
        console.read_line,
        console.columns(),
        lambda purposes: _this_run(info, batch, purposes, now),
        is_made_up=False,
        language=question.language,
    )
    purposes = ask(conversation, SCHEMA)
    given = question.answered(purposes or frozenset(), later=purposes is None)
    question.record(given)
    return conversation.wrapped(outcome(given))


def _this_run(
    info: EngineInfo,
    batch: Batch,
    purposes: frozenset[Purpose],
    now: datetime,
) -> bytes | None:
    """The bytes that this run alone would make, in memory; it was before any yes, so they are an example."""
    from metavox.telemetry.hardware import detect
    from metavox.telemetry.spans import request_span
    from metavox.telemetry.upload.weekly import sample

    hardware = detect(info.device)
    spans = [request_span(output, info, params, hardware) for output, params in batch]
    return sample(spans, Consent(purposes, now, "the question"), SCHEMA, secrets.token_bytes(32))
