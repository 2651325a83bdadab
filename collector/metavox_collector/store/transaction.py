"""What a transaction can do, in the collector's words. The queries are in the files beside this one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from metavox_collector.packing import PERMITS, Packing
from metavox_collector.store import ledger, released, staged
from metavox_collector.store.released import LabelledRelease, ReleaseSummary
from metavox_collector.store.rows import StagedRow, report_of
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
    packing: Packing

    @property
    def schema(self) -> Schema:
        """The declaration under which reports are staged."""
        return self.packing.schema

    def closed_weeks(self) -> frozenset[Week]:
        """The weeks of which anything was ever released."""
        return ledger.weeks(self.connection)

    def ledger(self) -> list[LedgerEntry]:
        """Every entry, first to last."""
        return ledger.entries(self.connection, self.tables)

    def add_reports(self, reports: Collection[Report]) -> int:
        """Stage the reports whose ids are not staged in their week yet; returns how many that were."""
        return staged.add(self.connection, self.packing, reports)

    def delete_report(self, report_id: str, until: Week) -> bool:
        """Delete one report, and leave what keeps it from being staged from now on; whether it was staged.

        Args:
            report_id: Its name.
            until: The last week that a delivery on its way may be of; what keeps it out then dies with that week.

        Raises:
            StoreUnavailable: if its week is being closed.
        """
        return staged.delete_one(self.connection, self.tables, report_id, until)

    def deleted_among(self, report_ids: Collection[str]) -> frozenset[str]:
        """Those of the names under which a report was deleted, or was to be."""
        return staged.deleted_among(self.connection, report_ids)

    def staged_weeks(self) -> list[Week]:
        """The weeks of which something may be staged, oldest first."""
        return staged.weeks(self.connection)

    def staged_rows(self, week: Week, batch: int = 1000) -> Iterator[list[StagedRow]]:
        """Stream a week's rows by report and position, whole reports together, about so many at a time."""
        return staged.rows(self.connection, week, batch)

    def staged_reports(self, week: Week, purpose: Purpose) -> Iterator[Report]:
        """Stream a week's reports that permit a purpose, unpacked."""
        for rows in staged.reports(self.staged_rows(week)):
            if rows[0].flags & PERMITS[purpose]:
                yield report_of(rows, week, self.packing)

    def count_staged(self, week: Week) -> int:
        """How many reports of a week are staged."""
        return staged.count(self.connection, week)

    def destroy_staged(self, week: Week) -> None:
        """Destroy a week's staged reports."""
        staged.destroy(self.connection, week)

    def destroy_staged_before(self, week: Week) -> int:
        """Destroy those of every earlier week that nobody closes just now; returns how many reports that were."""
        return staged.destroy_before(self.connection, self.tables, week)

    def add_release(self, entry: LedgerEntry, labelled: LabelledRelease) -> None:
        """Write a release together with the ledger entry that pays for it."""
        ledger.add(self.connection, self.tables, entry)
        released.add(self.connection, self.tables, labelled, entry.sequence)

    def add_correction(self, entry: LedgerEntry) -> None:
        """Write down what is wrong with a release; the release stays as it was drawn."""
        ledger.add(self.connection, self.tables, entry)

    def release(self, week: Week, purpose: Purpose) -> LabelledRelease | None:
        """Rebuild a release from its rows."""
        return released.get(self.connection, self.tables, week, purpose)

    def keep_file(self, week: Week, purpose: Purpose, zipped: bytes) -> None:
        """Put a release's file in the place of the one before."""
        released.keep_file(self.connection, self.tables, week, purpose, self.schema.version, zipped)

    def drop_file(self, week: Week, purpose: Purpose) -> None:
        """Delete a release's file, if it is the one that is kept."""
        released.drop_file(self.connection, self.tables, week, purpose)

    def newest_file(self, purpose: Purpose) -> tuple[Week, bytes] | None:
        """The last file that was kept for a purpose under this schema's version, and its week."""
        return released.newest_file(self.connection, self.tables, purpose, self.schema.version)

    def newest_release(self, purpose: Purpose) -> Week | None:
        """The last week that was released for a purpose under this schema's version, and not withdrawn."""
        return released.newest(self.connection, self.tables, purpose, self.schema.version)

    def release_summaries(self, purpose: Purpose) -> Sequence[ReleaseSummary]:
        """The releases for a purpose, oldest first."""
        return released.summaries(self.connection, self.tables, purpose)
