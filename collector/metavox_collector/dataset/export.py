"""Write a release as a directory: complete, or not there at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from metavox_collector.dataset import parquet
from metavox_collector.dataset.dictionary import dictionary
from metavox_collector.dataset.readme import readme
from metavox_collector.dataset.statement import Statement, statement_of
from metavox_collector.errors import NotReleased, TargetExists
from metavox_collector.store import Database, LabelledRelease
from metavox_privacy.fields import Purpose
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week


def export(database: Database, week: Week, purpose: Purpose, out: Path) -> Path:
    """Write one release to a new directory under ``out``; returns its path.

    Raises:
        NotReleased: if there is no such release, or another version of the schema made it.
        TargetExists: if the directory exists.
        LedgerBroken: if the ledger does not verify, or does not agree with what is kept of the release.
    """
    with database.read() as transaction:
        labelled = transaction.release(week, purpose)
        history = transaction.ledger()
    if labelled is None:
        raise NotReleased(f"week {week} has no release for '{purpose}'; 'metavox-collector close' makes one")
    if labelled.release.schema_version != database.schema.version:
        raise NotReleased(
            f"week {week} was released under schema version {labelled.release.schema_version}, and this software "
            f"has version {database.schema.version}; export it with the software that released it"
        )
    statement = statement_of(labelled.release, history)
    return write(labelled, statement, database.schema, out / name_of(labelled))


def name_of(labelled: LabelledRelease) -> str:
    """The directory's name, which says when the figures are not measurements."""
    kind = "-synthetic" if labelled.synthetic else ""
    return f"metavox-{labelled.release.week}-{labelled.release.purpose}{kind}"


def write(labelled: LabelledRelease, statement: Statement, schema: Schema, target: Path) -> Path:
    """Write every format beside the target, then rename; raises TargetExists and overwrites nothing."""
    if target.exists():
        raise TargetExists(f"{target} exists; a release never changes, so nothing was written")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        described = dictionary(labelled, statement, schema)
        parquet.write(labelled, statement, schema, partial)
        text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
        (partial / "data_dictionary.json").write_text(text, encoding="utf-8")
        (partial / "README.md").write_text(readme(described), encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target
