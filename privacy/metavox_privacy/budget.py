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
from typing import Literal, TypeAlias

from metavox_privacy.fields import Purpose, Scope
from metavox_privacy.week import Week

GENESIS = "0" * 64
"""What the first entry is chained to."""

Reason: TypeAlias = Literal["", "withdrawn", "figures corrected", "documents corrected"]
"""Why an entry corrects a release; empty for a release itself."""

REASONS: tuple[Reason, ...] = ("withdrawn", "figures corrected", "documents corrected")
"""Why a release can be corrected. Its noise is never drawn again; figures and documents derive from what was."""


class BudgetExhausted(Exception):
    """The yearly cap would be passed; nothing was drawn."""


class AlreadyReleased(Exception):
    """The week was released before, and a week is released once, ever."""


class NotReleased(Exception):
    """There is no such release, or it was withdrawn."""


class LedgerBroken(Exception):
    """An entry does not follow from the one before it: the ledger was altered."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One release's debit, or a word about a release that was paid for before.

    Attributes:
        sequence: 1, 2, 3, ...
        week: The week that was released, the last one where it was several together.
        weeks: How many ISO weeks were released together, up to that one.
        purpose: For whom.
        scope: How finely it was cut.
        schema_version: The declaration it was built from.
        nano_rho: The whole budget of the release, in thousand-millionths of ρ.
        yearly_cap: The cap it was held against, in nano-ρ.
        sandbox: Whether the reports may have been synthetic and the clock pretended.
        reason: Why this corrects the release, at no cost; empty for the release itself.
        release: Hex SHA-256 of what was released.
        previous: The hash of the entry before.
        hash: SHA-256 over all of the above.
    """

    sequence: int
    week: Week
    weeks: int
    purpose: Purpose
    scope: Scope
    schema_version: int
    nano_rho: int
    yearly_cap: int
    sandbox: bool
    reason: Reason
    release: str
    previous: str
    hash: str = ""

    @property
    def first_week(self) -> Week:
        """The first of the weeks that were released together."""
        return self.week.before(self.weeks - 1)

    @property
    def years(self) -> range:
        """The ISO years that its weeks are of; four weeks around New Year are of two."""
        return range(self.first_week.year, self.week.year + 1)

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
    weeks: int
    purpose: Purpose
    scope: Scope
    schema_version: int
    nano_rho: int
    yearly_cap: int
    sandbox: bool
    previous: str

    def settle(self, release: str) -> LedgerEntry:
        """The entry to be stored in the same transaction as the release of this hash."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return LedgerEntry(**facts, reason="", release=release).sealed()


def authorize(
    history: Sequence[LedgerEntry],
    *,
    week: Week,
    weeks: int = 1,
    purpose: Purpose,
    scope: Scope = "full",
    schema_version: int,
    nano_rho: int,
    yearly_cap: int,
    sandbox: bool,
) -> Authorization:
    """Permit a release, or refuse it.

    Args:
        history: The whole ledger.
        week: The week, or the last one of several that are released together.
        weeks: How many these are.
        purpose: For whom.
        scope: How finely it is to be cut.
        schema_version: The declaration that it is built from.
        nano_rho: What it costs an installation that is in every one of the weeks.
        yearly_cap: Most that the releases with weeks of one ISO year may cost.
        sandbox: Whether the reports may be synthetic.

    Raises:
        AlreadyReleased: if one of the weeks was released before for this purpose.
        BudgetExhausted: if the total of an ISO year that it has weeks of would pass the cap.
        LedgerBroken: if the history does not verify.
    """
    verify(history)
    first = week.before(weeks - 1)
    for entry in releases_in(history):
        if entry.purpose == purpose and entry.first_week <= week and first <= entry.week:
            raise AlreadyReleased(
                f"week {max(first, entry.first_week)} was already released for '{purpose}'; "
                "a week is released once, ever"
            )
    for year in range(first.year, week.year + 1):
        spent = spent_in(history, year)
        if spent + nano_rho > yearly_cap:
            raise BudgetExhausted(
                f"releasing {week} for '{purpose}' needs {nano_rho} nano-rho, but {spent} of the {yearly_cap} of "
                f"{year} are spent; the next year has a new budget"
            )
    return Authorization(
        sequence=len(history) + 1,
        week=week,
        weeks=weeks,
        purpose=purpose,
        scope=scope,
        schema_version=schema_version,
        nano_rho=nano_rho,
        yearly_cap=yearly_cap,
        sandbox=sandbox,
        previous=history[-1].hash if history else GENESIS,
    )


def correct(history: Sequence[LedgerEntry], *, week: Week, purpose: Purpose, reason: Reason) -> LedgerEntry:
    """The entry that says what is wrong with a release. It costs nothing, because no noise is drawn again.

    Raises:
        NotReleased: if there is no such release, or it was withdrawn, which is the last word on it.
        LedgerBroken: if the history does not verify.
        ValueError: if the reason is none.
    """
    if reason not in REASONS:
        raise ValueError(f"{reason!r} is no reason for a correction; take one of: {', '.join(REASONS)}")
    verify(history)
    mine = [entry for entry in history if (entry.week, entry.purpose) == (week, purpose)]
    if not mine:
        raise NotReleased(f"week {week} has no release for '{purpose}'")
    if mine[-1].reason == "withdrawn":
        raise NotReleased(f"the release of {week} for '{purpose}' was withdrawn, which is the last word on it")
    entry = replace(mine[0], sequence=len(history) + 1, nano_rho=0, reason=reason, previous=history[-1].hash)
    return entry.sealed()


def releases_in(history: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The entries that paid for a release, without corrections."""
    return [entry for entry in history if not entry.reason]


def spent_in(history: Sequence[LedgerEntry], year: int) -> int:
    """Nano-ρ spent on the weeks of an ISO year, for all purposes together.

    Weeks that are released together and are of two years count whole in both: what somebody pays who takes part
    in one year alone is then never more than this.
    """
    return sum(entry.nano_rho for entry in history if year in entry.years)


def verify(history: Sequence[LedgerEntry]) -> None:
    """Check the chain from its beginning; raises LedgerBroken."""
    previous = GENESIS
    for position, entry in enumerate(history, start=1):
        if (entry.sequence, entry.previous, entry.sealed().hash) != (position, previous, entry.hash):
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
    """The least ε of (ε, δ)-DP that is known to follow from ρ-zCDP.

    It minimises ``ρ α + ln(1/(α δ)) / (α - 1) + ln(1 - 1/α)`` over α > 1 (Canonne, Kamath and Steinke 2020,
    arXiv:2004.00010, proposition 12 for a Rényi divergence of ρ α). Every α gives a valid bound, so the search
    cannot claim too little.
    """
    rho = nano_rho / 1e9

    def bound(logarithm: float) -> float:
        less = math.exp(logarithm)  # α - 1
        return rho * (1 + less) - math.log(delta * (1 + less)) / less - math.log1p(1 / less)

    low, high = -12.0, 30.0
    for _ in range(200):  # a golden-section search; the bound falls, then rises
        a, b = low + 0.382 * (high - low), high - 0.382 * (high - low)
        low, high = (low, b) if bound(a) < bound(b) else (a, high)
    return max(bound((low + high) / 2), 0.0) if rho else 0.0
