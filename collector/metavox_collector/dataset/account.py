"""The ledger and its balance as JSON-ready values, for ``GET /v1/ledger`` and ``metavox-collector ledger``.

They hold what every pack's ``proof/ledger.json`` holds, and no count of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metavox_collector.dataset.facts import DELTA
from metavox_privacy.budget import GENESIS, LedgerEntry, epsilon, spent_in


@dataclass(frozen=True, slots=True)
class Balance:
    """What the releases of an ISO year have cost somebody who is in all of them.

    Attributes:
        year: The ISO year.
        spent: In nano-ρ.
        cap: Most that they may cost, in nano-ρ, by what is set now; each entry states what it was held against.
    """

    year: int
    spent: int
    cap: int

    @property
    def left(self) -> int:
        """What the year's next releases may cost, in nano-ρ."""
        return max(self.cap - self.spent, 0)

    @property
    def epsilon(self) -> float:
        """What was spent, as the ε of (ε, δ)-DP at δ = 1e-8."""
        return epsilon(self.spent, DELTA)

    @property
    def epsilon_cap(self) -> float:
        """The ε of somebody in every release of a year that spends its cap."""
        return epsilon(self.cap, DELTA)


def balances(history: Sequence[LedgerEntry], cap: int, year: int | None = None) -> list[Balance]:
    """The balance of each ISO year that has an entry, oldest first; or of one year, whether it has any or not."""
    years = sorted({one for entry in history for one in entry.years}) if year is None else [year]
    return [Balance(one, spent_in(history, one), cap) for one in years]


def account(history: Sequence[LedgerEntry], cap: int, year: int | None = None) -> dict[str, Any]:
    """The head of the ledger, the balances and the entries, of all years or of one.

    The entries are as in a pack's ``proof/ledger.json``, so the one can be held against the other.

    Args:
        history: The whole ledger.
        cap: Most that an ISO year's releases may cost by what is set now, in nano-ρ.
        year: An ISO year; None takes all.
    """
    return {
        "head": history[-1].hash if history else GENESIS,
        "delta": DELTA,
        "balance": [_balance(balance) for balance in balances(history, cap, year)],
        "history": [
            {**asdict(entry), "week": str(entry.week)} for entry in history if year is None or year in entry.years
        ],
    }


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "year": balance.year,
        "rho_spent": balance.spent / 1e9,
        "rho_left": balance.left / 1e9,
        "rho_cap": balance.cap / 1e9,
        "epsilon_spent": balance.epsilon,
        "epsilon_cap": balance.epsilon_cap,
    }
