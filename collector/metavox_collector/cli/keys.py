"""``metavox-collector keys``: the keys that releases are signed with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.console import Console

from metavox_collector.errors import KeyUnusable, TargetExists
from metavox_collector.operate.files import new_file
from metavox_collector.proof import keys

app = typer.Typer(help="Make and look at the keys that releases are signed with.", no_args_is_help=True)

KeyFile: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", help="PEM file of a private or public key.")]
Passphrase: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File whose first line is the private key's passphrase.")
]


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="Directory for both files.")], passphrase_file: Passphrase = None
) -> None:
    """Make an Ed25519 key: the private half for its owner alone, the public half for every buyer."""
    private, public = out / keys.PRIVATE_NAME, out / keys.PUBLIC_NAME
    for path in (private, public):
        if path.exists():
            raise TargetExists(f"{path} exists; give another directory, for no key is overwritten")
    pair = keys.generate(keys.passphrase_of(passphrase_file))
    out.mkdir(parents=True, exist_ok=True)
    _write(private, pair.private, 0o600)
    _write(public, pair.public, 0o644)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"private key  {private}  (keep a copy offline; who has it can sign in your name)")
    console.print(f"public key   {public}  (give it to your buyers by another way than the packs)")
    console.print(f"key id       {pair.key_id}")


@app.command()
def show(file: KeyFile, passphrase_file: Passphrase = None) -> None:
    """Print the id of a key, and which half of it a file holds."""
    kind = "private" if _is_private(file) else "public"
    sys.stdout.write(f"{keys.key_id(_public(file, passphrase_file))}  Ed25519, {kind}: {file}\n")


@app.command()
def public(file: KeyFile, passphrase_file: Passphrase = None) -> None:
    """Print the public half of a key as PEM."""
    sys.stdout.write(keys.public_pem(_public(file, passphrase_file)).decode())


def _public(file: Path, passphrase_file: Path | None) -> Ed25519PublicKey:
    if _is_private(file):
        return keys.private_key(file, keys.passphrase_of(passphrase_file)).public_key()
    if passphrase_file is not None:
        raise KeyUnusable(f"{file} holds no private key; name no file of a passphrase")
    return keys.public_key(file)


def _is_private(file: Path) -> bool:
    try:
        return b"PRIVATE KEY-----" in file.read_bytes()
    except OSError as error:
        raise KeyUnusable(f"{file} cannot be read: {error.strerror}") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    with new_file(path) as part:
        part.write_bytes(content)
        os.chmod(part, mode)
