"""``metavox-collector verify``."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metavox_collector.cli.options import Json
from metavox_collector.errors import KeyUnusable
from metavox_collector.pack.verify import Verified
from metavox_collector.pack.verify import verify as look
from metavox_collector.proof import keys
from metavox_collector.proof.integrity import Pinned
from metavox_privacy.schema import SCHEMA


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The pack.")],
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The publisher's public key, had by another way.")
    ] = None,
    key_id: Annotated[str | None, typer.Option(metavar="HEX", help="Or its id, 64 hexadecimal digits.")] = None,
    previous: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An earlier pack, whose ledger this one's must go on from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a pack offline and name all that is wrong; exit status 1 if anything is."""
    found = look(directory, SCHEMA, _pinned(public_key, key_id), previous)
    if as_json:
        print(json.dumps({"ok": not found.problems, **asdict(found)}, indent=1))  # noqa: T201  # for another program
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(1)


def _pinned(public_key: Path | None, key_id: str | None) -> Pinned:
    if public_key is not None and key_id is not None:
        raise KeyUnusable("--public-key and --key-id say the same in two ways; give one of them")
    if key_id is not None and not re.fullmatch("[0-9a-f]{64}", key_id.lower()):
        raise KeyUnusable("--key-id is 64 hexadecimal digits, as 'keys show' prints them")
    key = None if public_key is None else keys.public_key(public_key)
    return Pinned(key, None if key_id is None else key_id.lower())


def _print(found: Verified) -> None:
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for problem in found.problems:
        console.print(f"ERROR   {problem}")
    for note in found.notes:
        console.print(f"note    {note}")
    if not found.pinned and found.key_id is not None:
        console.print(
            f"note    no key was pinned: this shows that nothing changed since key {found.key_id} signed, and not "
            "whose key that is; ask the publisher by another way, and give --key-id or --public-key"
        )
    if found.problems:
        count = len(found.problems)
        console.print(f"{count} {'things are' if count > 1 else 'thing is'} wrong; do not use this pack")
    else:
        origin = f"signed by the key {found.key_id} that you named" if found.pinned else "whole and consistent"
        console.print(f"ok      {found.files} files, {origin}")
