"""Gates with their numbers, and the report that a pack embeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Criterion: TypeAlias = Literal["singling out", "linkability", "inference", "membership", "the release itself"]
"""The first three are those of WP29's Opinion 05/2014."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How well an attack did.

    Attributes:
        value: Its success over the baseline that the gate names.
        low: The least that this success is, with 99.9 % confidence.
        high: The most that it is, with 99.9 % confidence.
        limit: What the privacy claim allows.
        trials: How often it was tried, the baseline's trials included.
    """

    value: float
    low: float
    high: float
    limit: float
    trials: int

    @property
    def exceeds(self) -> bool:
        """Whether the attack succeeds more often than the claim allows, beyond chance."""
        return self.low > self.limit


@dataclass(frozen=True, slots=True)
class Gate:
    """One question about the release, the answer, and the proof that the question was hard enough.

    Attributes:
        name: Unique in the report.
        criterion: Which of the criteria it speaks to.
        question: What is asked.
        limit_from: Where the limit comes from.
        release: The attack on what is released.
        control: The same attack on the exact sums, published without noise and threshold; None where the release
            itself is checked.
    """

    name: str
    criterion: Criterion
    question: str
    limit_from: str
    release: Measured
    control: Measured | None

    @property
    def toothless(self) -> bool:
        """Whether the attack fails even where nothing protects: then its failure elsewhere shows nothing."""
        return self.control is not None and not self.control.exceeds

    @property
    def passed(self) -> bool:
        """Whether the claim stands, before an attack that could have refuted it."""
        return not self.release.exceeds and not self.toothless

    def as_json(self) -> dict[str, Any]:
        """JSON data."""
        control = self.control and {
            "value": _short(self.control.value),
            "low": _short(self.control.low),
            "limit": _short(self.control.limit),
            "trials": self.control.trials,
            "succeeds": self.control.exceeds,
        }
        return {
            "name": self.name,
            "criterion": self.criterion,
            "question": self.question,
            "verdict": "pass" if self.passed else "fail",
            "passed": self.passed,
            "value": _short(self.release.value),
            "low": _short(self.release.low),
            "high": _short(self.release.high),
            "limit": _short(self.release.limit),
            "limit_from": self.limit_from,
            "trials": self.release.trials,
            "control": control,
        }


@dataclass(frozen=True, slots=True)
class AttackReport:
    """Every gate, and what was attacked.

    Attributes:
        parameters: What identifies what was attacked, as JSON data.
        gates: The gates, in order.
        figures: Other numbers of the simulated fleet and of the release, as JSON data.
        seconds: How long it took.
    """

    parameters: Mapping[str, Any]
    gates: tuple[Gate, ...]
    figures: Mapping[str, Any]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    def as_json(self) -> dict[str, Any]:
        """JSON data: ``verdict`` (pass or fail), ``parameters``, ``gates``, ``figures`` and how it was measured."""
        return {
            "verdict": "pass" if self.passed else "fail",
            "passed": self.passed,
            "confidence": 0.999,
            "parameters": dict(self.parameters),
            "gates": [gate.as_json() for gate in self.gates],
            "figures": dict(self.figures),
            "seconds": round(self.seconds, 1),
        }


def _short(number: float) -> float:
    return float(f"{number:.4g}")
