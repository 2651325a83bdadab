"""How often one sender may ask: the generic cell rate algorithm (ITU-T I.371), a leaky bucket in one number.

The number is the moment at which the sender's bucket will be empty again. All senders share a table of fixed size:
see :mod:`~metavox_collector.admission.table`. So a flood from many addresses makes others wait only while the
service as a whole takes ``WIDTH`` times the rate of one.
"""

from __future__ import annotations

from metavox_collector.admission.table import KeyedTable

DAY = 86_400.0
"""Seconds after which the key is another one."""


class Rates:
    """One budget: so many requests a minute for each sender, of which a minute's worth may come at once.

    Args:
        table: Where they are counted.
        per_minute: Requests, above zero.
    """

    def __init__(self, table: KeyedTable, per_minute: int) -> None:
        self._table = table
        self._interval = 60.0 / per_minute

    def take(self, host: bytes, now: float) -> float:
        """Count a request; 0 when it may be made, else in how many seconds it may, and it is not counted.

        Args:
            host: Whose request it is, as :func:`~metavox_collector.admission.addresses.host_of` has it.
            now: Seconds of a clock that never goes back, above 0.
        """
        self._table.enter(_day(now))
        places = self._table.places(host)
        empty_at = max(self._table.least(places), now) + self._interval
        wait = empty_at - now - 60.0
        if wait > self._interval / 1e3:  # less is the rounding of a sum of so many intervals
            return wait
        self._table.raise_to(places, empty_at)
        return 0.0

    def forget(self, now: float) -> None:
        """Throw away what was counted on another day than that of now, by the same clock."""
        self._table.leave(_day(now))


def _day(now: float) -> int:
    return int(now // DAY) + 1
