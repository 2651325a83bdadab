"""A released week -> its signed pack, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metavox_collector.dataset.code import this_code
from metavox_collector.dataset.model import Dataset, Publisher, dataset_of
from metavox_collector.errors import NotReleased, ReleaseRefused
from metavox_collector.pack import compose, reports
from metavox_collector.pack.inputs import Inputs
from metavox_collector.pack.reports import Report, Work
from metavox_collector.pack.write import write
from metavox_collector.proof import keys
from metavox_collector.proof.envelope import seal
from metavox_collector.proof.paths import SIGNATURE, SIGNING_KEY
from metavox_collector.store import Database, LabelledRelease, Transaction
from metavox_privacy.budget import LedgerEntry, releases_in
from metavox_privacy.fields import Purpose
from metavox_privacy.release import Release
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week


@dataclass(frozen=True)
class Kept:
    """What a database keeps of a release.

    Attributes:
        labelled: The release.
        before: The one before it, for the same purpose and of the same schema; None if there is none.
        history: The whole ledger.
        schema: The declaration it was made from.
    """

    labelled: LabelledRelease
    before: Release | None
    history: Sequence[LedgerEntry]
    schema: Schema

    def reports(self, audit: Path | None, attacks: Path | None, work: Work) -> tuple[Report, Report]:
        """The audit's and the attacks' report: from files, or else made now.

        Raises:
            ReleaseRefused: if a file is of other software or another kind of release, or a report refutes a claim.
        """
        release, schema = self.labelled.release, self.schema
        audited = reports.report_from(audit) if audit else reports.audited(release, schema, work)
        _refuse("the audit", [*reports.audit_problems(audited, release, schema)])
        attacked = reports.report_from(attacks) if attacks else reports.attacked(release, schema, work)
        try:
            attacked = reports.with_release(attacked, release, self.before, schema)
        except (KeyError, TypeError) as error:
            raise ReleaseRefused(f"{attacks} holds no report of attacks: {error!r}") from None
        _refuse("the attacks", [*reports.attack_problems(attacked, release, schema)])
        _refuse("the reports", [*reports.of_other_software(audited, attacked, this_code())])
        return audited, attacked

    def dataset(self, publisher: Publisher, issued: date) -> Dataset:
        """All that is published of it; raises LedgerBroken if the ledger is not whole or says otherwise."""
        return dataset_of(
            self.labelled,
            self.history,
            self.schema,
            publisher=publisher,
            issued=issued,
            code=this_code(),
        )


def kept(database: Database, week: Week, purpose: Purpose) -> Kept:
    """Read a release that may be published.

    Raises:
        NotReleased: if there is none, or another version of the schema made it.
        ReleaseRefused: if it was withdrawn.
    """
    with database.read() as transaction:
        labelled = transaction.release(week, purpose)
        history = transaction.ledger()
        before = _before(transaction, history, week, purpose)
    if labelled is None:
        raise NotReleased(f"week {week} has no release for '{purpose}'; 'metavox-collector close' makes one")
    if labelled.release.schema_version != database.schema.version:
        raise NotReleased(
            f"week {week} was released under schema version {labelled.release.schema_version}, and this software "
            f"has version {database.schema.version}; write its pack with the software that released it"
        )
    about = [entry for entry in history if (entry.week, entry.purpose) == (week, purpose)]
    if about and about[-1].reason == "withdrawn":
        raise ReleaseRefused(
            f"the release of {week} for '{purpose}' was withdrawn by ledger entry {about[-1].sequence}; nothing "
            "of it is published again"
        )
    return Kept(labelled, before, history, database.schema)


def _before(
    transaction: Transaction, history: Sequence[LedgerEntry], week: Week, purpose: Purpose
) -> Release | None:
    version = transaction.schema.version
    earlier = [
        entry.week
        for entry in releases_in(history)
        if entry.purpose == purpose and entry.week < week and entry.schema_version == version
    ]
    found = transaction.release(max(earlier), purpose) if earlier else None
    return None if found is None else found.release


def _refuse(what: str, problems: list[str]) -> None:
    if problems:
        raise ReleaseRefused(f"{what} did not pass, so nothing was written: {'; '.join(problems)}")


def pack_of(dataset: Dataset, inputs: Inputs, key: Ed25519PrivateKey) -> dict[str, bytes]:
    """Every file of a pack, signed."""
    files = compose.compose(dataset, inputs)
    files[SIGNING_KEY] = keys.public_pem(key.public_key())
    return {**files, SIGNATURE: seal(files, compose.predicate(dataset), key)}


def write_preview(dataset: Dataset, out: Path) -> Path:
    """Write a release's data alone to a new directory under ``out``; returns its path.

    Raises:
        TargetExists: if there is something of its name; it is left as it is.
    """
    target = out / f"{dataset.name}-preview"
    write(compose.preview(dataset), target)
    return target


def write_pack(dataset: Dataset, inputs: Inputs, key: Ed25519PrivateKey, out: Path) -> Path:
    """Write a pack to a new directory under ``out``; returns its path.

    Raises:
        TargetExists: if there is something of its name; it is left as it is.
    """
    target = out / dataset.name
    write(pack_of(dataset, inputs, key), target)
    return target
