"""Audit and attack reports -> Gates: what each of them measured, against which limit, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from metavox_collector.errors import ReleaseRefused

Criterion: TypeAlias = Literal["singling out", "linkability", "inference", "mechanism"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One measurement of a proof.

    Attributes:
        name: As its report calls it.
        criterion: Which of the three criteria of WP29 Opinion 05/2014 it speaks to; or the mechanism as a whole.
        passed: Whether the value is within the limit.
        value: What was measured.
        limit: What is permitted.
    """

    name: str
    criterion: Criterion
    passed: bool
    value: float | None
    limit: float | None

    @property
    def row(self) -> Mapping[str, Any]:
        """For tables."""
        return asdict(self)


_CRITERIA: Mapping[str, Criterion] = {
    "singling out": "singling out",
    "singling_out": "singling out",
    "linkability": "linkability",
    "inference": "inference",
}


def gates_of(report: Mapping[str, Any], name: str) -> tuple[Gate, ...]:
    """The measurements of a report.

    Args:
        report: With ``gates``, a list of objects with ``name``, ``passed``, ``value``, ``limit`` and, if it speaks
            to one of the three criteria, ``criterion``.
        name: The report's, for messages.

    Raises:
        ReleaseRefused: if there is no measurement in it, or one is not whole.
    """
    try:
        gates = tuple(_gate(one) for one in report["gates"])
    except (KeyError, TypeError) as error:
        raise ReleaseRefused(f"the report of the {name} is not whole: {error}; make it again") from None
    if not gates:
        raise ReleaseRefused(f"the report of the {name} measures nothing; make it again")
    return gates


def _gate(one: Mapping[str, Any]) -> Gate:
    criterion = _CRITERIA.get(str(one.get("criterion")), "mechanism")
    return Gate(str(one["name"]), criterion, bool(one["passed"]), one["value"], one["limit"])
