"""Spend or refuse: the ledger of everything ever released, and the account that one release may draw on.

Budgets are integer nano-ρ of zero-concentrated differential privacy (Bun and Steinke 2016, arXiv:1605.02065),
which simply add up. Entries are chained by SHA-256 and each holds the hash of what was released, so whoever
keeps the head of the chain, which every dataset states, can tell whether anything before it was changed or
taken away. Nobody can tell that of entries whose head was never published.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from metavox_privacy.fields import Purpose
from metavox_privacy.week import Week

GENESIS = "0" * 64
"""What the first entry is chained to."""


class BudgetExhausted(Exception):
    """The yearly cap would be passed; nothing was drawn."""


class AlreadyReleased(Exception):
    """The week was released before, and a week is released once, ever."""


class LedgerBroken(Exception):
    """An entry does not follow from the one before it: the ledger was altered."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One release's debit.

    Attributes:
        sequence: 1, 2, 3, ...
        week: The week that was released.
        purpose: For whom.
        schema_version: The declaration it was built from.
        nano_rho: The whole budget of the release, in thousand-millionths of ρ.
        yearly_cap: The cap it was held against, in nano-ρ.
        sandbox: Whether the reports may have been synthetic and the clock pretended.
        release: Hex SHA-256 of what was released.
        previous: The hash of the entry before.
        hash: SHA-256 over all of the above.
    """

    sequence: int
    week: Week
    purpose: Purpose
    schema_version: int
    nano_rho: int
    yearly_cap: int
    sandbox: bool
    release: str
    previous: str
    hash: str = ""

    def sealed(self) -> LedgerEntry:
        """The same entry with its hash computed."""
        facts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "hash"}
        text = json.dumps({**facts, "week": str(self.week)}, sort_keys=True)
        return replace(self, hash=hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Authorization:
    """The right to draw one release's noise; settled, it is the ledger entry that paid for it."""

    sequence: int
    week: Week
    purpose: Purpose
    schema_version: int
    nano_rho: int
    yearly_cap: int
    sandbox: bool
    previous: str

    def settle(self, release: str) -> LedgerEntry:
        """The entry to be stored in the same transaction as the release of this hash."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return LedgerEntry(**facts, release=release).sealed()


def authorize(
    history: Sequence[LedgerEntry],
    *,
    week: Week,
    purpose: Purpose,
    schema_version: int,
    nano_rho: int,
    yearly_cap: int,
    sandbox: bool,
) -> Authorization:
    """Permit a release, or refuse it.

    Raises:
        AlreadyReleased: if this week was released for this purpose before.
        BudgetExhausted: if the ISO year's total would pass the cap.
        LedgerBroken: if the history does not verify.
    """
    verify(history)
    if any(entry.week == week and entry.purpose == purpose for entry in history):
        raise AlreadyReleased(f"week {week} was already released for '{purpose}'; a week is released once, ever")
    spent = spent_in(history, week.year)
    if spent + nano_rho > yearly_cap:
        raise BudgetExhausted(
            f"releasing {week} for '{purpose}' needs {nano_rho} nano-rho, but {spent} of the {yearly_cap} of "
            f"{week.year} are spent; the next year has a new budget"
        )
    return Authorization(
        sequence=len(history) + 1,
        week=week,
        purpose=purpose,
        schema_version=schema_version,
        nano_rho=nano_rho,
        yearly_cap=yearly_cap,
        sandbox=sandbox,
        previous=history[-1].hash if history else GENESIS,
    )


def spent_in(history: Sequence[LedgerEntry], year: int) -> int:
    """Nano-ρ spent on the weeks of an ISO year, for all purposes together."""
    return sum(entry.nano_rho for entry in history if entry.week.year == year)


def verify(history: Sequence[LedgerEntry]) -> None:
    """Check the chain from its beginning; raises LedgerBroken."""
    previous = GENESIS
    for position, entry in enumerate(history, start=1):
        if entry.sequence != position or entry.previous != previous or entry.sealed().hash != entry.hash:
            raise LedgerBroken(f"ledger entry {entry.sequence} does not follow from the one before it")
        previous = entry.hash


class Account:
    """What one release may still draw. Mechanisms debit it before they draw, and cannot draw otherwise."""

    def __init__(self, authorization: Authorization) -> None:
        self._left = authorization.nano_rho

    @property
    def left(self) -> int:
        """Nano-ρ not yet spent."""
        return self._left

    def debit(self, nano_rho: int) -> None:
        """Take from the account; raises BudgetExhausted and takes nothing when there is less left."""
        if nano_rho > self._left:
            raise BudgetExhausted(f"a mechanism asks {nano_rho} nano-rho and the release has {self._left} left")
        self._left -= nano_rho


def epsilon(nano_rho: int, delta: float) -> float:
    """The ε of (ε, δ)-DP that ρ-zCDP implies: ``ρ + 2 sqrt(ρ ln(1/δ))`` (Bun and Steinke, proposition 1.3)."""
    rho = nano_rho / 1e9
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))
