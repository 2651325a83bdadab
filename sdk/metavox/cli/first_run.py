"""The question after the first successful run at a terminal: once, on standard error, and never anywhere else."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from metavox.cli import console
from metavox.telemetry.home import Home
from metavox_privacy.consent import Answer, Consent, Evidence, Unreadable, decide
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.config import EngineInfo
    from metavox.outputs import RequestOutput
    from metavox.params import SamplingParams


def may_ask(
    environment: Mapping[str, str],
    *,
    policy: str | Unreadable | None,
    recorded: str | Unreadable | None,
    on_terminals: bool,
    is_root: bool,
    now: datetime,
) -> bool:
    """Whether the question may be asked at all: nobody has answered, somebody is there, nothing forbids a yes.

    Args:
        environment: The process's environment.
        policy: The text of the system policy file.
        recorded: The text of the consent file.
        on_terminals: Whether all three standard streams are terminals.
        is_root: Whether this is the superuser.
        now: To know whether a "not now" is over.
    """
    if not on_terminals or is_root or not _unanswered(recorded, now):
        return False
    yes = Answer(frozenset(PURPOSES), now, notice_hash(SCHEMA), SCHEMA.version)
    return decide(Evidence(environment, policy, answer=yes), now).granted


def _unanswered(recorded: str | Unreadable | None, now: datetime) -> bool:
    if recorded is None:
        return True
    if isinstance(recorded, Unreadable):
        return False
    given = parse_receipt(recorded)
    return given is not None and given.ask_again_after is not None and now >= given.ask_again_after


def maybe_ask(info: EngineInfo, batch: Sequence[tuple[RequestOutput, SamplingParams]]) -> None:
    """Ask, if this is the moment, and record the answer; what went wrong is told in a line and harms nothing.

    Args:
        info: The engine that has just run.
        batch: What it has just finished, for the bytes that ``p`` shows.
    """
    now = datetime.now(timezone.utc)
    home = Home.from_environment(os.environ)
    if not may_ask(
        os.environ,
        policy=home.policy_text(),
        recorded=home.answer(),
        on_terminals=console.on_terminals(),
        is_root=console.is_root(),
        now=now,
    ):
        return
    from metavox.telemetry.ask import Conversation, ask

    console.forget_typed()
    console.note("")
    conversation = Conversation(
        sys.stderr,
        console.read_line,
        console.columns(),
        lambda purposes: _this_run(info, batch, purposes, now),
        "a run like this",
    )
    answer = ask(conversation, SCHEMA, now)
    try:
        home.record(answer)
    except OSError as error:
        console.note(f"metavox: the answer could not be saved, so nothing is kept: {error.strerror}")
        return
    console.note(outcome(answer))


def outcome(answer: Answer) -> str:
    """What an answer means, in one sentence."""
    if answer.purposes:
        yes = " and ".join(purpose for purpose in PURPOSES if purpose in answer.purposes)
        no = "".join(f"; not to {purpose}" for purpose in PURPOSES if purpose not in answer.purposes)
        return f"Thank you. On from now, to {yes}{no}. 'metavox telemetry off' ends it."
    if answer.ask_again_after is not None:
        return "Not now: nothing is kept or sent."
    return "No: nothing is kept or sent, and you will not be asked again."


def _this_run(
    info: EngineInfo,
    batch: Sequence[tuple[RequestOutput, SamplingParams]],
    purposes: frozenset[Purpose],
    now: datetime,
) -> bytes | None:
    """The bytes that this run alone would make, in memory; it was before any yes, so they are an example."""
    from metavox.telemetry.hardware import detect
    from metavox.telemetry.spans import request_span
    from metavox.telemetry.weekly import sample

    hardware = detect(info.device)
    spans = [request_span(output, info, params, hardware) for output, params in batch]
    return sample(spans, Consent(purposes, now, "the question"), SCHEMA, secrets.token_bytes(32))
