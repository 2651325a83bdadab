"""Who decided what: consent as a value, and the order in which the deciding things are asked.

This module reads nothing itself. The caller gathers the evidence, so that the whole decision is one
pure function, and the same evidence always decides the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal, TypeAlias

from metavox_privacy.automation import CI_VARIABLES
from metavox_privacy.fields import Purpose
from metavox_privacy.notice import Language, notice_hashes
from metavox_privacy.schema import SCHEMA, Schema

ASK_AGAIN_AFTER: Final = timedelta(days=182)
"""How long "not now" lasts: about six months."""

DEPLOYMENT_LASTS: Final = timedelta(days=365)
"""How long a receipt for servers and containers holds; longer ones are not understood."""

RECEIPT_VARIABLE: Final = "METAVOX_TELEMETRY_RECEIPT"
"""Names the file of a receipt from ``metavox telemetry authorize``; it counts beside ``METAVOX_TELEMETRY=on``."""

COLLECTOR_VARIABLE: Final = "METAVOX_COLLECTOR_URL"
"""Names the collector that reports go to, whose operator is the controller."""

_ANOTHER: Final = (
    COLLECTOR_VARIABLE + " names another collector than at the yes; 'metavox telemetry {verb}' asks anew"
)

Scope: TypeAlias = Literal["installation", "deployment"]


class Unreadable(Enum):
    """Stands for a file that exists and could not be read or understood; it means off, never a guess."""

    FILE = "unreadable"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered, and to what.

    Attributes:
        purposes: The purposes that were granted; empty is a no, or a "not now".
        answered_at: When, in UTC; nothing from before it can ever leave.
        notice: SHA-256 of the words that were shown, and of the list.
        schema_version: The version of the list that was shown.
        language: The language of the words.
        scope: Whether it is a person's own answer, or the receipt of a deployment that they answer for.
        ask_again_after: Set when the answer was "not now".
        expires_at: When a yes ends by itself; a deployment's always does.
        collector: The collector that was named when the question was asked, None when none was.
        withdrawn: The purposes that had been granted before, and are taken back.
    """

    purposes: frozenset[Purpose]
    answered_at: datetime
    notice: str
    schema_version: int
    language: Language = "en"
    scope: Scope = "installation"
    ask_again_after: datetime | None = None
    expires_at: datetime | None = None
    collector: str | None = None
    withdrawn: frozenset[Purpose] = frozenset()

    def succeeding(self, earlier: Answer | None) -> Answer:
        """This answer with what it takes back of an earlier one; what was taken back before stays so."""
        granted = frozenset() if earlier is None else earlier.purposes | earlier.withdrawn
        return replace(self, withdrawn=granted - self.purposes)


@dataclass(frozen=True, slots=True)
class Consent:
    """The decision in force.

    Attributes:
        purposes: What may be done; empty means that nothing is kept and nothing is sent.
        since: The moment from which a request may count, None when off.
        rule: Which rule decided, in words for ``metavox telemetry status``.
        notice: The hash of the words that were agreed to, ``""`` when off.
    """

    purposes: frozenset[Purpose]
    since: datetime | None
    rule: str
    notice: str = ""

    @property
    def granted(self) -> bool:
        """Whether anything at all may be kept."""
        return bool(self.purposes) and self.since is not None

    def is_same(self, other: Consent) -> bool:
        """Whether both are one consent: of one moment, to the same words and purposes, whichever rule decided."""
        return (self.since, self.purposes, self.notice) == (other.since, other.purposes, other.notice)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a decision looks at.

    Attributes:
        environment: The process's environment.
        policy: The text of the system policy file, None when there is none; it can only force off.
        authorization: The receipt that ``METAVOX_TELEMETRY_RECEIPT`` names, None when it names none.
        answer: What the consent file says, None when nobody has answered.
        forced_off: Whether the program has switched contributions off for itself.
        is_foreign: Whether this is the superuser in somebody else's folders.
        is_damaged: Whether a damaged journal was set aside, after which only a new yes counts.
        is_homeless: Whether there is no folder in which anything could be kept.
    """

    environment: Mapping[str, str]
    policy: str | Unreadable | None = None
    authorization: Answer | Unreadable | None = None
    answer: Answer | Unreadable | None = None
    forced_off: bool = False
    is_foreign: bool = False
    is_damaged: bool = False
    is_homeless: bool = False


def off(rule: str) -> Consent:
    """A consent that permits nothing."""
    return Consent(frozenset(), None, rule)


def decide(evidence: Evidence, now: datetime, schema: Schema = SCHEMA) -> Consent:
    """Decide whether contributions are on: the first rule that applies. What is not understood means off.

    Args:
        evidence: What was found.
        now: For what expires.
        schema: The list in this release of the software; a yes is to its notice alone.
    """
    forbidden = _forbidden(evidence)
    if forbidden is not None:
        return off(forbidden)
    given = evidence.answer
    if evidence.is_homeless:
        return off("there is no home folder to keep anything in; METAVOX_HOME can name one, by its whole path")
    if isinstance(given, Unreadable):  # it may hold a no
        return off("the consent file cannot be read or understood")
    if given is not None and not given.purposes and given.ask_again_after is None:
        return off("the answer was no")
    if _switch(evidence.environment) and evidence.authorization is not None:
        return _from_authorization(evidence.authorization, evidence.environment, now, schema)
    if given is None:
        return off(_unanswered(evidence))
    return _from_file(given, evidence.environment, now, schema)


def _forbidden(evidence: Evidence) -> str | None:
    """The rule that forces contributions off, whatever anybody answered; None when there is none."""
    environment = evidence.environment
    if evidence.forced_off:
        return "this program has called metavox.telemetry.configure(enabled=False)"
    if _is_set(environment.get("DO_NOT_TRACK")):
        return "DO_NOT_TRACK is set"
    switch = _switch(environment)
    if switch and switch not in ("on", "1", "true", "yes"):
        is_off = switch in ("off", "0", "false", "no")
        return (
            "METAVOX_TELEMETRY is off" if is_off else "METAVOX_TELEMETRY holds a value that is neither on nor off"
        )
    if evidence.policy is not None and not _policy_permits(evidence.policy):
        return "the system's policy file switches it off, or cannot be understood"
    detected = next((name for name in CI_VARIABLES if _is_either_set(environment, name)), None)
    if detected is not None:
        return f"an automated build or test is running ({detected} is set)"
    if evidence.is_foreign:
        return "this is the superuser in somebody else's home"
    if evidence.is_damaged:
        return "the journal was damaged and is set aside; 'metavox telemetry on' begins a new one"
    return None


def _from_authorization(
    given: Answer | Unreadable, environment: Mapping[str, str], now: datetime, schema: Schema
) -> Consent:
    if isinstance(given, Unreadable):
        return off(f"the receipt that {RECEIPT_VARIABLE} names cannot be read or understood")
    if given.scope != "deployment" or given.expires_at is None:
        return off(f"the receipt that {RECEIPT_VARIABLE} names is not from 'metavox telemetry authorize'")
    if names_another_collector(environment, given):
        return off(_ANOTHER.format(verb="authorize"))
    return _from_answer(given, now, schema, f"the receipt that {RECEIPT_VARIABLE} names", "authorize")


def _from_file(given: Answer, environment: Mapping[str, str], now: datetime, schema: Schema) -> Consent:
    if given.scope != "installation":
        return off(f"the consent file is the receipt of a deployment; {RECEIPT_VARIABLE} is there to name it")
    if given.purposes and names_another_collector(environment, given):  # whose operator is another controller
        return off(_ANOTHER.format(verb="on"))
    return _from_answer(given, now, schema, "the recorded consent", "on")


def _unanswered(evidence: Evidence) -> str:
    if evidence.authorization is not None:
        return f"the receipt that {RECEIPT_VARIABLE} names counts beside METAVOX_TELEMETRY=on alone"
    if _switch(evidence.environment):
        return f"METAVOX_TELEMETRY=on needs a recorded consent, or {RECEIPT_VARIABLE}"
    return "nobody has been asked, or answered"


def _from_answer(given: Answer, now: datetime, schema: Schema, rule: str, verb: str) -> Consent:
    how = "'metavox telemetry diff' shows how, and " if verb == "on" else ""
    again = f"{how}'metavox telemetry {verb}' shows it again"
    if not given.purposes:
        return off("the answer was not now" if given.ask_again_after is not None else f"{rule} grants nothing")
    if given.expires_at is not None and now >= given.expires_at:
        return off(f"{rule} has expired; 'metavox telemetry {verb}' asks again")
    if given.schema_version != schema.version:
        return off(f"the list of what may leave has changed since the yes; {again}")
    if given.notice != notice_hashes(schema).get(given.language):
        return off(f"the notice has changed since the yes; {again}")
    return Consent(given.purposes, given.answered_at, rule, given.notice)


def names_another_collector(environment: Mapping[str, str], given: Answer) -> bool:
    """Whether reports would go to another collector than the one that was named when this was answered."""
    named = environment.get(COLLECTOR_VARIABLE, "").strip().rstrip("/")
    agreed = (given.collector or "").rstrip("/")
    return bool(named and agreed) and named != agreed


def _switch(environment: Mapping[str, str]) -> str:
    return environment.get("METAVOX_TELEMETRY", "").strip().lower()


def _is_set(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "no", "off")


def _is_either_set(environment: Mapping[str, str], name: str) -> bool:
    """Windows knows each name in capitals alone, whoever set it."""
    return _is_set(environment.get(name)) or _is_set(environment.get(name.upper()))


def _policy_permits(text: str | Unreadable) -> bool:
    if isinstance(text, Unreadable):
        return False
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("telemetry") == "user"
