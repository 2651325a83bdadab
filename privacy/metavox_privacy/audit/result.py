"""What an audit found, ready for a proof pack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metavox_privacy import budget
from metavox_privacy.audit.bound import Bound, epsilon_of
from metavox_privacy.fields import Scope

DELTA = 1e-8
"""The δ at which ε is stated, everywhere in the project."""


@dataclass(frozen=True, slots=True)
class Game:
    """One game, and what its trials prove.

    Attributes:
        looks_at: What the attacker looked at.
        scope: How finely the release was cut.
        weeks: How many weeks it was of, the target being in each.
        nano_rho: What the release claims that this costs.
        attack_mu: The μ that the attack would have if noise were what the release states; None where no formula
            says it. Where it is the claimed one, the target is the worst that there can be.
        bound: What was proven.
    """

    looks_at: str
    scope: Scope
    weeks: int
    nano_rho: int
    attack_mu: float | None
    bound: Bound

    @property
    def name(self) -> str:
        """What tells it from every other game of an audit."""
        weeks = "1 week" if self.weeks == 1 else f"{self.weeks} weeks"
        return f"{self.looks_at}; {self.scope}, {weeks}, ρ = {self.nano_rho / 1e9:.4g}"

    @property
    def claimed_mu(self) -> float:
        """The μ of the Gaussian mechanism that costs as much: sqrt(2 ρ)."""
        return math.sqrt(2 * self.nano_rho / 1e9)

    @property
    def passed(self) -> bool:
        """Whether what is claimed was not refuted."""
        return self.bound.mu <= self.claimed_mu

    def as_json(self) -> dict[str, Any]:
        """JSON data: ``value`` is the μ that was proven and ``limit`` the one that is claimed."""
        bound = self.bound
        return {
            "name": self.name,
            "criterion": "mechanism",
            "verdict": "pass" if self.passed else "fail",
            "passed": self.passed,
            "value": _short(bound.mu),
            "limit": _short(self.claimed_mu),
            "looks_at": self.looks_at,
            "scope": self.scope,
            "weeks": self.weeks,
            "nano_rho": self.nano_rho,
            "estimate": _short(bound.estimate) if math.isfinite(bound.estimate) else None,
            "attack_mu": self.attack_mu and _short(self.attack_mu),
            "proven_epsilon": _short(epsilon_of(bound.mu, DELTA)),
            "claimed_epsilon": _short(budget.epsilon(self.nano_rho, DELTA)),
            "trials": bound.trials,
            "false_positives": bound.false_positives,
            "false_negatives": bound.false_negatives,
        }


@dataclass(frozen=True, slots=True)
class Plant:
    """A planted fault, and the game that refuted it most clearly.

    Attributes:
        name: What it is called.
        says: What goes wrong.
        game: The game whose bound is furthest above its claim.
    """

    name: str
    says: str
    game: Game

    @property
    def caught(self) -> bool:
        """Whether the gate refused it."""
        return not self.game.passed

    def as_json(self) -> dict[str, Any]:
        """JSON data, with the game's own."""
        return {"name": self.name, "says": self.says, "caught": self.caught, "gate": self.game.as_json()}


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Which games were played on which code, and what they prove.

    Attributes:
        games: The shipped code's.
        plants: The planted faults'.
        confidence: With which each bound holds.
        trials: Of each world of a game.
        plant_trials: Of each world of a planted fault's game.
        schema_version: The schema that was audited.
        schema_sha256: Its fingerprint.
        code_sha256: Of the code that was audited, as whoever called for the audit counts it.
        libraries: Versions of what noise is drawn with, by name.
    """

    games: tuple[Game, ...]
    plants: tuple[Plant, ...]
    confidence: float
    trials: int
    plant_trials: int
    schema_version: int
    schema_sha256: str
    code_sha256: str
    libraries: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Whether no claim of the shipped code was refuted, and every planted fault was caught."""
        return (
            bool(self.games and self.plants)
            and all(game.passed for game in self.games)
            and all(plant.caught for plant in self.plants)
        )

    def as_json(self) -> dict[str, Any]:
        """JSON data: ``verdict`` (pass or fail), ``parameters``, the ``gates`` and the ``planted`` faults."""
        return {
            "verdict": "pass" if self.passed else "fail",
            "passed": self.passed,
            "confidence": self.confidence,
            "parameters": {
                "trials": self.trials,
                "trials_of_planted": self.plant_trials,
                "delta": DELTA,
                "schema_version": self.schema_version,
                "schema_sha256": self.schema_sha256,
                "code_sha256": self.code_sha256,
                "libraries": dict(self.libraries),
            },
            "gates": [game.as_json() for game in self.games],
            "planted": [plant.as_json() for plant in self.plants],
        }


def _short(number: float) -> float:
    return float(f"{number:.4g}")
