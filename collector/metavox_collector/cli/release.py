"""``metavox-collector release``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from metavox_collector import settings
from metavox_collector.cli.options import Config, Db, Now, PurposeOption, WeekOption, clock_of
from metavox_collector.dataset.gdpr.operations import operations_of
from metavox_collector.errors import ReleaseRefused
from metavox_collector.pack.inputs import Inputs
from metavox_collector.pack.publisher import publisher_of
from metavox_collector.pack.release import kept, write_pack, write_preview
from metavox_collector.pack.reports import Work
from metavox_collector.pack.write import require_free
from metavox_collector.proof import keys
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA


def release(
    week: WeekOption,
    out: Annotated[Path, typer.Option(help="Directory under which the pack's own directory is made.")],
    db: Db = None,
    config: Config = None,
    purpose: Annotated[PurposeOption, typer.Option(help="Which release of the week.")] = PurposeOption.publish,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Private key; the setting signing_key.")] = None,
    passphrase_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The key's passphrase.")] = None,
    audit: Annotated[Path | None, typer.Option(metavar="FILE", help="A report of 'audit --out'.")] = None,
    attacks: Annotated[Path | None, typer.Option(metavar="FILE", help="A report of 'attacks --out'.")] = None,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="The data alone, at once, to look at: no documents, proof or signature."),
    ] = False,
    now: Now = None,
) -> None:
    """Write a released week as a signed pack: data, documents and proof; complete, or not at all."""
    chosen = settings.load(config, db=db, signing_key=key)
    if preview and (key or passphrase_file or audit or attacks):
        raise ReleaseRefused("a preview is neither proven nor signed: give it no key and no reports")
    signing = None if preview else _signing_key(chosen, passphrase_file)
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        found = kept(database, week, purpose.value)
        clock = clock_of(now, sandbox=database.sandbox)
        publisher = publisher_of(chosen, sandbox=database.sandbox)
    finally:
        database.dispose()
    issued = clock().date()
    dataset = found.dataset(publisher, issued)
    console = Console(soft_wrap=True, highlight=False)
    if signing is None:
        console.print(f"wrote {write_preview(dataset, out)}, which is not signed and proves nothing")
        return
    require_free(out / dataset.name)  # before minutes are spent on the reports
    audited, attacked = found.reports(audit, attacks, Work())
    inputs = Inputs(publisher, issued, operations_of(chosen), audited, attacked)
    target = write_pack(dataset, inputs, signing, out)
    console.print(f"wrote {target}, signed by key {keys.key_id(signing.public_key())}")


def _signing_key(chosen: settings.Settings, passphrase_file: Path | None) -> Ed25519PrivateKey:
    if chosen.signing_key is None:
        raise ReleaseRefused("no key is named to sign with; make one with 'keys generate' and give it as --key")
    return keys.private_key(chosen.signing_key, keys.passphrase_of(passphrase_file))
