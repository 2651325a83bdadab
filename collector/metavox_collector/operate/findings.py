"""What a look at something found: each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        about: What was looked at, in a word or two.
        level: Whether it is well, could be better, or must not stay so.
        says: What was found and what to do, in words that hold nothing of the data.
    """

    about: str
    level: Level
    says: str


def ok(about: str, says: str) -> Finding:
    """It is well."""
    return Finding(about, "ok", says)


def warning(about: str, says: str) -> Finding:
    """It could be better."""
    return Finding(about, "warning", says)


def error(about: str, says: str) -> Finding:
    """It must not stay so."""
    return Finding(about, "error", says)


def any_error(findings: Iterable[Finding]) -> bool:
    """Whether something must not stay so."""
    return any(finding.level == "error" for finding in findings)
