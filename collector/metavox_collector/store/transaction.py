"""What a transaction can do, in the collector's words. The queries are in the files beside this one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from metavox_collector.store import ledger, released, rewriting, staged
from metavox_collector.store.released import LabelledRelease, ReleaseSummary
from metavox_collector.store.tables import Tables
from metavox_privacy.budget import LedgerEntry
from metavox_privacy.fields import Purpose
from metavox_privacy.report import Report
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week


@dataclass(frozen=True)
class Transaction:
    """One transaction; it begins and ends in :class:`~metavox_collector.store.database.Database`."""

    connection: Connection
    tables: Tables
    schema: Schema

    def closed_weeks(self) -> frozenset[Week]:
        """The weeks of which anything was ever released."""
        return ledger.weeks(self.connection, self.tables)

    def ledger(self) -> list[LedgerEntry]:
        """Every entry, first to last."""
        return ledger.entries(self.connection, self.tables)

    def add_reports(self, reports: Collection[Report]) -> int:
        """Stage the reports whose ids are not staged yet; returns how many that were."""
        return staged.add(self.connection, self.tables, self.schema, reports)

    def is_staged(self, report_id: str) -> bool:
        """Whether a report of this name is staged."""
        return staged.week_of(self.connection, self.tables, report_id) is not None

    def delete_report(self, report_id: str) -> bool:
        """Delete one report, and leave what keeps it from being staged again; whether it was staged."""
        return staged.delete_one(self.connection, self.tables, report_id)

    def deleted_among(self, report_ids: Collection[str]) -> frozenset[str]:
        """Those of the names under which a report of a week that is not closed was deleted."""
        return staged.deleted_among(self.connection, self.tables, report_ids)

    def is_rewriting_due(self) -> bool:
        """Whether copies of deleted rows may be left in the files."""
        return rewriting.is_due(self.connection, self.tables)

    def rewrite_a_piece(self) -> bool:
        """Write some of what is staged anew, so that those copies go; whether there is more to do."""
        return rewriting.do_a_piece(self.connection, self.tables)

    def staged_reports(self, week: Week, purpose: Purpose) -> Iterator[Report]:
        """Stream a week's reports that permit a purpose."""
        return staged.stream(self.connection, self.tables, self.schema, week, purpose)

    def any_staged_synthetic(self) -> bool:
        """Whether a staged report of any week was simulated."""
        return staged.any_synthetic(self.connection, self.tables)

    def destroy_staged(self, week: Week) -> None:
        """Delete a week's reports and their cells."""
        staged.destroy(self.connection, self.tables, week)

    def destroy_staged_before(self, week: Week) -> int:
        """Delete the reports and cells of every earlier week; returns how many reports that were."""
        return staged.destroy_before(self.connection, self.tables, week)

    def add_release(self, entry: LedgerEntry, labelled: LabelledRelease) -> None:
        """Write a release together with the ledger entry that pays for it."""
        ledger.add(self.connection, self.tables, entry)
        released.add(self.connection, self.tables, labelled)

    def release(self, week: Week, purpose: Purpose) -> LabelledRelease | None:
        """Rebuild a release from its rows."""
        return released.get(self.connection, self.tables, week, purpose)

    def newest_release(self, purpose: Purpose) -> Week | None:
        """The last week that was released for a purpose under this schema's version."""
        return released.newest(self.connection, self.tables, purpose, self.schema.version)

    def release_summaries(self, purpose: Purpose) -> Sequence[ReleaseSummary]:
        """The releases for a purpose, oldest first."""
        return released.summaries(self.connection, self.tables, purpose)
