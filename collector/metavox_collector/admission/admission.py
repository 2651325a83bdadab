"""Who may send how much: rates, address blocks, tokens. It knows nothing of HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network

from metavox_collector.admission.addresses import Address, Network, block_of, host_of, is_within, parse_address
from metavox_collector.admission.blocks import Blocks
from metavox_collector.admission.memory import shared, tables
from metavox_collector.admission.rates import Rates
from metavox_collector.admission.tokens import Tokens, read
from metavox_collector.clock import Clock
from metavox_collector.settings import Settings
from metavox_privacy.week import Week

REASONS = ("too_many_requests", "too_many_deletions", "too_many_from_block")
"""Why somebody is told to wait; a closed list, for a metric's label."""

_LONGEST_WAIT_S = 3600
"""A new week may be days away; whoever asks every hour until then is no burden."""

_TABLES = 3


def shared_counts() -> int | None:
    """A descriptor for all workers of a service, so that a sender has one budget, whichever serves it.

    None where the system has no such memory; each worker counts for itself then.
    """
    return shared(_TABLES)


class Action(Enum):
    """What is asked for; each has a budget of its own, so that no flood of one keeps anybody from the other."""

    SEND = "too_many_requests"
    DELETE = "too_many_deletions"


class Throttled(Exception):
    """The sender has to wait; nothing was counted.

    Attributes:
        reason: One of :data:`REASONS`.
        retry_after_s: After how many whole seconds it is worth asking again.
    """

    def __init__(self, reason: str, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Unauthorized(Exception):
    """The sender shows no token, or one that is not good; the two are not told apart."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a sender may do.

    Attributes:
        sends_per_minute: Requests that bring reports, for each IPv4 address or IPv6 /64.
        deletions_per_minute: Requests to delete a report, for each of the same.
        reports_per_block: Reports in one ISO week, for each IPv4 /24 or IPv6 /48.
        unlimited: Networks without limits: relays that send for many, and the machine itself.
    """

    sends_per_minute: int
    deletions_per_minute: int
    reports_per_block: int
    unlimited: Sequence[Network]

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """What the operator chose."""
        return cls(
            settings.sends_per_minute,
            settings.deletions_per_minute,
            settings.reports_per_block,
            tuple(ip_network(network) for network in settings.unlimited_networks),
        )


class Admission:
    """Counts what senders do, by what no address can be told from; for one thread.

    Args:
        limits: How much is allowed.
        tokens: The tokens of which one must be shown; None where none is asked for.
        clock: Says in which week it is.
        memory: What :func:`shared_counts` returned, to count together with other processes; None to count alone.
    """

    def __init__(self, limits: Limits, tokens: Tokens | None, clock: Clock, memory: int | None = None) -> None:
        self._limits = limits
        self._tokens = tokens
        self._clock = clock
        sends, deletions, reports = tables(_TABLES, memory)
        self._rates = {
            Action.SEND: Rates(sends, limits.sends_per_minute),
            Action.DELETE: Rates(deletions, limits.deletions_per_minute),
        }
        self._blocks = Blocks(reports, limits.reports_per_block)

    @classmethod
    def of(cls, settings: Settings, clock: Clock, memory: int | None = None) -> Admission:
        """What the operator chose.

        Raises:
            NotAllowed: if the file of tokens holds none, or a line that is none.
            OSError: if it cannot be read.
        """
        tokens = None if settings.require_token is None else read(settings.require_token)
        return cls(Limits.of(settings), tokens, clock, memory)

    def admit_request(self, client: str | None, action: Action) -> None:
        """Count a request, before anything of its body is read.

        Args:
            client: The client's address as :func:`~metavox_collector.admission.addresses.client_of` has it; None
                where there is none, as on a Unix socket, which nothing limits.
            action: What it asks for.

        Raises:
            Throttled: if it comes too soon.
        """
        address = self._limited(client)
        if address is None:
            return
        wait = self._rates[action].take(host_of(address), time.monotonic())
        if wait > 0:
            raise Throttled(action.value, "too many requests from one address", math.ceil(wait))

    def admit(self, client: str | None, reports: int) -> None:
        """Count the reports of a request, before they are stored; all of them or none.

        Raises:
            Throttled: if they would be more than one address block may bring in a week.
        """
        address = self._limited(client)
        now = self._clock()
        if address is None or self._blocks.take(block_of(address), reports, week := Week.of(now)):
            return
        wait = min(math.ceil((week.end - now).total_seconds()), _LONGEST_WAIT_S)
        message = "as many reports as one address block may send in a week have come from this one"
        raise Throttled("too_many_from_block", message, wait)

    def forget(self) -> None:
        """Throw away the days and weeks that are over, with their keys, also where nobody has come since."""
        for rates in self._rates.values():
            rates.forget(time.monotonic())
        self._blocks.forget(Week.of(self._clock()))

    def authorize(self, header: str | None) -> None:
        """Judge an ``Authorization`` header of a request that brings reports.

        Nobody needs a token to delete a report: the report's own is the proof.

        Raises:
            Unauthorized: if a token is asked for and no good one is shown.
        """
        if self._tokens is not None and not self._tokens.accept(header):
            raise Unauthorized("this collector takes reports only with its fleet's token")

    def _limited(self, client: str | None) -> Address | None:
        address = None if client is None else parse_address(client)
        return None if address is None or is_within(address, self._limits.unlimited) else address
