"""Audit and attack reports -> Gates: what each of them measured, against which limit, and how it ended.

The reports are read as the JSON that a pack holds, so that documents can be made again from a pack alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from metavox_collector.errors import ReleaseRefused

Criterion: TypeAlias = Literal[
    "mechanism", "singling out", "linkability", "inference", "membership", "the release itself"
]

_CRITERIA: Final[Mapping[str, Criterion]] = {name: name for name in get_args(Criterion)}
_OF_A_GAME: Final = "Which of two neighbouring fleets was it? In μ of Gaussian differential privacy."

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Gate:
    """One measurement of a proof.

    Attributes:
        name: As its report calls it.
        criterion: What it speaks to.
        question: What was asked, in words.
        passed: Whether it is within its limit.
        value: What was measured; None where the report has no single number.
        at_least: What that is at least, with the report's confidence: the limit is held against this.
        limit: What the privacy claim permits.
    """

    name: str
    criterion: Criterion
    question: str
    passed: bool
    value: float | None
    at_least: float
    limit: float

    @property
    def row(self) -> Mapping[str, Any]:
        """For tables."""
        return {
            "measurement": self.name,
            "question": self.question,
            "value": self.value,
            "at_least": self.at_least,
            "limit": self.limit,
            "within_limit": self.passed,
        }


@dataclass(frozen=True, slots=True)
class Plant:
    """A fault that was planted into the software for the audit, which has to catch it.

    Attributes:
        name: What it is called.
        says: What goes wrong.
        caught: Whether the audit refused it.
    """

    name: str
    says: str
    caught: bool

    @property
    def row(self) -> Mapping[str, Any]:
        """For tables."""
        return {"planted_fault": self.name, "what_goes_wrong": self.says, "caught": self.caught}


def gates_of(report: Mapping[str, Any], name: str) -> tuple[Gate, ...]:
    """The measurements of a report: of the audit, or of the attacks.

    Args:
        report: Its JSON.
        name: The report's, for messages.

    Raises:
        ReleaseRefused: if there is no measurement in it, or one is not whole.
    """
    return _read(report, "gates", name, _gate)


def plants_of(report: Mapping[str, Any]) -> tuple[Plant, ...]:
    """The audit's planted faults; raises ReleaseRefused as above."""
    return _read(report, "planted", "audit", _plant)


def _read(
    report: Mapping[str, Any], part: str, name: str, read: Callable[[Mapping[str, Any]], _T]
) -> tuple[_T, ...]:
    try:
        found = tuple(map(read, report[part]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ReleaseRefused(f"the report of the {name} is not whole ({error}); make it again") from None
    if not found:
        raise ReleaseRefused(f"the report of the {name} has nothing under '{part}'; make it again")
    return found


def _gate(one: Mapping[str, Any]) -> Gate:
    """The audit states what it has proven as its value, the attacks beside it, as ``low``."""
    is_audit = one["criterion"] == "mechanism"
    return Gate(
        name=one["name"],
        criterion=_CRITERIA[one["criterion"]],
        question=_OF_A_GAME if is_audit else one["question"],
        passed=_flag(one["passed"]),
        value=one["estimate"] if is_audit else one["value"],
        at_least=one["value"] if is_audit else one["low"],
        limit=one["limit"],
    )


def _plant(one: Mapping[str, Any]) -> Plant:
    return Plant(one["name"], one["says"], _flag(one["caught"]))


def _flag(value: object) -> bool:
    """A flag of the report; anything else than true or false is not understood, and never taken for a yes."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value
