"""How many reports one address block may bring in a week, so that nobody speaks for many from one place.

Counted by the ISO week of receipt, in memory alone: each week begins anew, and so does a restart of the service.
"""

from __future__ import annotations

from metavox_collector.admission.table import KeyedTable
from metavox_privacy.week import Week


class Blocks:
    """The cap on reports for each block and week.

    Args:
        table: Where they are counted.
        cap: The most reports that a block may bring in one ISO week.
    """

    def __init__(self, table: KeyedTable, cap: int) -> None:
        self._table = table
        self._cap = cap

    def take(self, block: bytes, reports: int, week: Week) -> bool:
        """Count reports; whether they may be taken. All or none: what is refused is not counted.

        Args:
            block: Whose they are, as :func:`~metavox_collector.admission.addresses.block_of` has it.
            reports: How many.
            week: The week of now, whichever week the reports are of.
        """
        self._table.enter(_number(week))
        places = self._table.places(block)
        taken = int(self._table.least(places)) + reports
        if taken > self._cap:
            return False
        self._table.raise_to(places, taken)
        return True

    def forget(self, week: Week) -> None:
        """Throw away what was counted in another week than that of now."""
        self._table.leave(_number(week))


def _number(week: Week) -> int:
    return week.year * 100 + week.number
