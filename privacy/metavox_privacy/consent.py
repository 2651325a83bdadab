"""Who decided what: consent as a value, and the order in which the deciding things are asked.

This module reads nothing itself. The caller hands in the environment and the texts of two files, so
that the whole decision is one pure function, and the same inputs always decide the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from metavox_privacy.fields import PURPOSES, Purpose

CI_VARIABLES: Final = (
    "CI",
    "CONTINUOUS_INTEGRATION",
    "BUILD_NUMBER",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BUILDKITE",
    "CIRCLECI",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
    "TRAVIS",
    "CODEBUILD_BUILD_ID",
    "PYTEST_CURRENT_TEST",
)
"""Environment variables that build and test systems set; any of them, not empty and not "false", means off."""

ASK_AGAIN_AFTER: Final = timedelta(days=182)
"""How long "not now" lasts: about six months."""


class Unreadable(Enum):
    """Stands for a file that exists and could not be read; it means off, never a guess."""

    FILE = "unreadable"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered, and to what.

    Attributes:
        purposes: The purposes that were granted; empty is a no, or a "not now".
        answered_at: When, in UTC; nothing from before it can ever leave.
        notice: SHA-256 of the words that were shown, and of the list.
        schema_version: The version of the list that was shown.
        ask_again_after: Set when the answer was "not now".
    """

    purposes: frozenset[Purpose]
    answered_at: datetime
    notice: str
    schema_version: int
    ask_again_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Consent:
    """The decision in force.

    Attributes:
        purposes: What may be done; empty means that nothing is kept and nothing is sent.
        since: The moment from which a request may count, None when off.
        rule: Which rule decided, in words for ``metavox telemetry status``.
    """

    purposes: frozenset[Purpose]
    since: datetime | None
    rule: str

    @property
    def granted(self) -> bool:
        """Whether anything at all may be kept."""
        return bool(self.purposes) and self.since is not None


def off(rule: str) -> Consent:
    """A consent that permits nothing."""
    return Consent(frozenset(), None, rule)


def decide(
    environment: Mapping[str, str],
    *,
    policy: str | Unreadable | None,
    answer: str | Unreadable | None,
    schema_version: int,
    notice: str,
) -> Consent:
    """Decide whether contributions are on. What is absent, unreadable or not understood means off.

    Args:
        environment: The process's environment.
        policy: The text of the system policy file, None when there is none; it can only force off.
        answer: The text of the consent file, None when nobody has answered.
        schema_version: The version of the list in this release of the software.
        notice: The hash of the words and the list in this release; a yes is to these alone.
    """
    if _is_set(environment.get("DO_NOT_TRACK")):
        return off("DO_NOT_TRACK is set")
    switch = environment.get("METAVOX_TELEMETRY", "").strip().lower()
    if switch and switch not in ("on", "1", "true", "yes"):
        return off("METAVOX_TELEMETRY is off" if switch in ("off", "0", "false", "no") else _ODD_SWITCH)
    if policy is not None and not _policy_permits(policy):
        return off("the system's policy file switches it off, or cannot be understood")
    detected = next((name for name in CI_VARIABLES if _is_set(environment.get(name))), None)
    if detected is not None:
        return off(f"an automated build or test is running ({detected} is set)")
    if answer is None:
        return off(
            "METAVOX_TELEMETRY=on needs a recorded consent" if switch else "nobody has been asked, or answered"
        )
    given = None if answer is Unreadable.FILE else parse_answer(answer)
    if given is None:
        return off("the consent file cannot be read or understood")
    return _from_answer(given, schema_version, notice)


_ODD_SWITCH: Final = "METAVOX_TELEMETRY holds a value that is neither on nor off"


def _from_answer(given: Answer, schema_version: int, notice: str) -> Consent:
    if not given.purposes:
        return off("the answer was no" if given.ask_again_after is None else "the answer was not now")
    if given.schema_version != schema_version:
        return off("the list of what may leave has changed since the yes; 'metavox telemetry on' shows it again")
    if given.notice != notice:
        return off("the notice has changed since the yes; 'metavox telemetry on' shows it again")
    return Consent(given.purposes, given.answered_at, "the recorded consent")


def _is_set(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "no", "off")


def _policy_permits(text: str | Unreadable) -> bool:
    if text is Unreadable.FILE:
        return False
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("telemetry") == "user"


def format_answer(answer: Answer) -> str:
    """The consent file's text: JSON, one fact a line."""
    document = {
        "version": 1,
        "purposes": sorted(answer.purposes),
        "answered_at": answer.answered_at.isoformat(),
        "notice_sha256": answer.notice,
        "schema_version": answer.schema_version,
        "ask_again_after": answer.ask_again_after.isoformat() if answer.ask_again_after else None,
    }
    return json.dumps(document, indent=2) + "\n"


def parse_answer(text: str) -> Answer | None:
    """Read the consent file's text; None when any part of it is not understood."""
    try:
        document = json.loads(text)
        return _answer_of(document)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _answer_of(document: dict[str, Any]) -> Answer:
    purposes = frozenset(purpose for purpose in PURPOSES if purpose in document["purposes"])
    if not isinstance(document["purposes"], list) or len(purposes) != len(document["purposes"]):
        raise ValueError("an unknown purpose")
    if [type(document[name]) for name in ("version", "schema_version")] != [int, int] or document["version"] != 1:
        raise ValueError("an unknown version")
    again = document["ask_again_after"]
    return Answer(
        purposes=purposes,
        answered_at=_moment(document["answered_at"]),
        notice=str(document["notice_sha256"]),
        schema_version=document["schema_version"],
        ask_again_after=None if again is None else _moment(again),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
