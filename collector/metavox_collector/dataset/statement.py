"""Ledger -> Statement: what a release and its year have cost, as it stood when the release's week was closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metavox_privacy.budget import LedgerBroken, LedgerEntry, releases_in, spent_in, verify
from metavox_privacy.fields import Purpose
from metavox_privacy.release import Release


@dataclass(frozen=True, slots=True)
class Statement:
    """What a reader needs to hold the ledger to account later. A release's statement never changes.

    Attributes:
        release: Hex SHA-256 of the release, as its ledger entry has it.
        head: The hash of the ledger's last entry for the week, which holds that of every entry before.
        yearly_cap: Most that an ISO year may cost, in nano-ρ.
        spent: What the ledger's releases of that ISO year had cost by then, this week's included, in nano-ρ.
        week: The budgets of the week's releases by purpose, in nano-ρ. Who agreed to all is in all of them.
    """

    release: str
    head: str
    yearly_cap: int
    spent: int
    week: Mapping[Purpose, int]

    @property
    def together(self) -> int:
        """What the week's releases cost somebody who is in all of them, in nano-ρ."""
        return sum(self.week.values())


def statement_of(release: Release, history: Sequence[LedgerEntry]) -> Statement:
    """What the ledger says of a release; raises LedgerBroken if it does not verify or says otherwise."""
    verify(history)
    of_week = {entry.purpose: entry for entry in releases_in(history) if entry.week == release.week}
    paid = of_week.get(release.purpose)
    if paid is None or paid.release != release.sha256:
        raise LedgerBroken(f"what is kept of {release.week} for '{release.purpose}' is not what was released")
    last = max(of_week.values(), key=lambda entry: entry.sequence)
    return Statement(
        release=paid.release,
        head=last.hash,
        yearly_cap=paid.yearly_cap,
        spent=spent_in(history[: last.sequence], release.week.year),
        week={purpose: entry.nano_rho for purpose, entry in of_week.items()},
    )
