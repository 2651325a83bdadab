"""What is attacked, and how hard."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metavox_privacy.budget import Authorization, authorize
from metavox_privacy.fields import Purpose, Scope, Table
from metavox_privacy.release import Release
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

WEEK = Week(2026, 47)
"""The last week of every simulated period; which one it is changes nothing."""


@dataclass(frozen=True)
class Parameters:
    """What a release's privacy depends on; the attacks run on simulated fleets that are released with the same.

    Attributes:
        schema: The declaration.
        nano_rho: What the release costs.
        purpose: For whom it is.
        scope: How finely it is cut.
        weeks: How many weeks are released together.
    """

    schema: Schema
    nano_rho: int
    purpose: Purpose = "publish"
    scope: Scope = "full"
    weeks: int = 1

    @classmethod
    def of(cls, release: Release, schema: Schema) -> Parameters:
        """Those of a release; raises ValueError if it was not made under this schema."""
        if release.schema_version != schema.version:
            raise ValueError(
                f"the release is of schema version {release.schema_version} and this code has version "
                f"{schema.version}; run the attacks with the version that made it"
            )
        return cls(schema, release.nano_rho, release.purpose, release.scope, release.weeks)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the scope."""
        return self.schema.in_scope(self.scope)

    @property
    def mu(self) -> float:
        """What ρ allows at most, as the parameter of Gaussian differential privacy: ``sqrt(2 ρ)``.

        A Gaussian mechanism of ρ-zCDP is μ-GDP for this μ (Dong, Roth and Su 2022, arXiv:1905.02383), and so is the
        discrete one at scales above 1, up to what no number of trials here could tell.
        """
        return math.sqrt(2 * self.nano_rho / 1e9)

    def authorization(self) -> Authorization:
        """The right to draw one simulated release, from an empty ledger of a sandbox."""
        return authorize(
            (),
            week=WEEK,
            weeks=self.weeks,
            purpose=self.purpose,
            scope=self.scope,
            schema_version=self.schema.version,
            nano_rho=self.nano_rho,
            yearly_cap=self.nano_rho,
            sandbox=True,
        )


@dataclass(frozen=True)
class Effort:
    """How many trials the attacks make.

    Attributes:
        pairs: Pairs of consecutive releases in which one target each is looked for.
        lone: Installations that are alone with their hardware.
        fleet: Installations of the fleet in which somebody is to be singled out.
        processes: How many run at a time.
    """

    pairs: int = 3_000
    lone: int = 4_000
    fleet: int = 4_000
    processes: int = 2


THOROUGH = Effort(pairs=30_000, lone=40_000, fleet=20_000)
"""For a night: advantages are known within 0.01."""
