"""Reports -> staged rows, and a deleted report out of them, committed before anybody is told so.

What waits is bounded: a sender for whose reports there is no room is told to come back, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from metavox_collector.observe import Metrics, Tracing
from metavox_collector.stage import commit
from metavox_collector.stage.commit import Deletion, Delivery
from metavox_collector.stage.groups import GroupCommit
from metavox_collector.store import Database
from metavox_privacy.report import Report, report_id_of
from metavox_privacy.week import Week
from metavox_privacy.wire import Rejected

REASONS = ("synthetic", "week_not_over", "week_too_old", *commit.REASONS)
"""Why a report that was understood is not taken."""


class Busy(Exception):
    """There is no room for more reports now; nothing of them was stored."""


def refusal(report: Report, *, now: datetime, accepted_for: timedelta, sandbox: bool) -> tuple[str, str] | None:
    """Why a report is not taken, whatever the database holds, as a name and in words; None when it may be."""
    if report.synthetic and not sandbox:
        return "synthetic", "synthetic reports go to a sandbox"
    if now < report.week.end:
        return "week_not_over", "the week is not over"
    if now >= report.week.end + accepted_for:
        return "week_too_old", "the week is too old"
    return None


class Stager:
    """Takes reports into the database and out of it, many requests in one transaction.

    Args:
        database: Where they are staged.
        accepted_for: How long after its end a week's reports are taken.
        room: Most reports that may wait for a transaction at a time.
        metrics: Where groups are counted.
        tracing: Where they are traced.
    """

    def __init__(
        self,
        database: Database,
        accepted_for: timedelta,
        *,
        room: int,
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or Tracing()
        self._database = database
        self._accepted_for = accepted_for
        self._room = room
        self._metrics = metrics
        self._waiting = 0
        self._commits: GroupCommit[Delivery | Deletion, list[Rejected] | bool] = GroupCommit(
            self._commit, "metavox-stager"
        )

    def start(self) -> None:
        """Begin, on the running loop."""
        self._commits.start()

    async def drain(self) -> None:
        """Return when everything that was given is committed; nothing may be given afterwards."""
        await self._commits.stop()

    @property
    def is_full(self) -> bool:
        """Whether what waits leaves no room for another request."""
        return self._waiting >= self._room

    async def stage(self, decoded: Sequence[Report | Rejected], now: datetime) -> list[Rejected]:
        """Commit the reports that may be taken; returns those that were not, each with its reason.

        Raises:
            Busy: if there is no room; nothing was stored then.
            StoreUnavailable: if the database is busy or away; nothing was stored then.
        """
        judged = [self._judge(item, now) if isinstance(item, Report) else item for item in decoded]
        rejected = [item for item in judged if isinstance(item, Rejected)]
        reports = [item for item in judged if isinstance(item, Report)]
        if not reports:
            return rejected
        if self._waiting and self._waiting + len(reports) > self._room:
            raise Busy
        self._wait(len(reports))
        try:
            late = await self._commits(Delivery(reports))
        finally:
            self._wait(-len(reports))
        assert isinstance(late, list)
        return rejected + late

    async def delete(self, token: bytes, now: datetime) -> bool:
        """Delete the report that a secret token names; whether it was staged.

        A delivery of the same report that is still on its way is refused from here on, in every process.

        Raises:
            StoreUnavailable: if the database is busy or away; it may be deleted or not, and can be asked for again.
        """
        over = Week.of(now - timedelta(weeks=1))  # no report of a later week is taken yet
        return bool(await self._commits(Deletion(report_id_of(token), until=over)))

    def _wait(self, more: int) -> None:
        self._waiting += more
        self._metrics.waiting(self._waiting)

    def _judge(self, report: Report, now: datetime) -> Report | Rejected:
        why = refusal(report, now=now, accepted_for=self._accepted_for, sandbox=self._database.sandbox)
        return report if why is None else Rejected(*why, len(report.cells))

    def _commit(self, group: Sequence[Delivery | Deletion]) -> Sequence[list[Rejected] | bool | Exception]:
        """The outcomes in order. Deletions first, so that a report that arrives beside its own is not stored."""
        deletions = [item for item in group if isinstance(item, Deletion)]
        deliveries = [item for item in group if isinstance(item, Delivery)]
        reports = sum(len(item.reports) for item in deliveries)
        span = self._tracing.span("commit", reports=reports, deletions=len(deletions))
        with span, self._metrics.group(reports):
            deleted = iter(commit.delete(self._database, deletions))
            stored = iter(commit.store(self._database, deliveries))
        return [next(deleted) if isinstance(item, Deletion) else next(stored) for item in group]
