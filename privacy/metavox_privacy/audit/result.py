"""What an audit found, ready for a proof pack."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metavox_privacy import budget
from metavox_privacy.audit.bound import Bound, epsilon_of
from metavox_privacy.fields import Scope

DELTA = 1e-8
"""The δ at which ε is stated, everywhere in the project."""

_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Game:
    """One game, and what its trials prove.

    Attributes:
        name: What the attacker looked at.
        scope: How finely the release was cut.
        weeks: How many weeks it was of, the target being in each.
        nano_rho: What the release claims that this costs.
        attack_mu: The μ that the attack would have if noise were what the release states; None where no formula
            says it. Where it is the claimed one, the target is the worst that there can be.
        bound: What was proven.
    """

    name: str
    scope: Scope
    weeks: int
    nano_rho: int
    attack_mu: float | None
    bound: Bound

    @property
    def claimed_mu(self) -> float:
        """The μ of the Gaussian mechanism that costs as much: sqrt(2 ρ)."""
        return math.sqrt(2 * self.nano_rho / 1e9)

    @property
    def passed(self) -> bool:
        """Whether what is claimed was not refuted."""
        return self.bound.mu <= self.claimed_mu

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data; a figure that is not finite is null."""
        estimate = self.bound.estimate
        return {
            **asdict(self),
            "bound": {**asdict(self.bound), "estimate": estimate if math.isfinite(estimate) else None},
            "claimed_mu": self.claimed_mu,
            "claimed_epsilon": budget.epsilon(self.nano_rho, DELTA),
            "proven_epsilon": epsilon_of(self.bound.mu, DELTA),
            "passed": self.passed,
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
        """All of it as plain data."""
        return {"name": self.name, "says": self.says, "caught": self.caught, "game": self.game.as_json()}


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
        code_sha256: Of the package that was audited, by :func:`code_sha256`.
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
        """All of it as plain data."""
        return {
            "passed": self.passed,
            "confidence": self.confidence,
            "delta": DELTA,
            "trials": self.trials,
            "plant_trials": self.plant_trials,
            "schema_version": self.schema_version,
            "schema_sha256": self.schema_sha256,
            "code_sha256": self.code_sha256,
            "libraries": dict(self.libraries),
            "games": [game.as_json() for game in self.games],
            "plants": [plant.as_json() for plant in self.plants],
        }


def code_sha256() -> str:
    """SHA-256 over the names and the bytes of every file of this package, in the order of their names."""
    files = sorted(p for p in _PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    whole = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        whole.update(f"{file.relative_to(_PACKAGE).as_posix()}\n{len(content)}\n".encode() + content)
    return whole.hexdigest()
