"""Catalogs of public names: data files, read once."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from metavox_privacy.fields import Choice


@cache
def load(name: str) -> Choice:
    """Read a catalog, ``accelerators`` or ``models``: a list of names with their other spellings."""
    entries = json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    aliases = {alias.lower(): entry["name"] for entry in entries for alias in entry.get("aliases", ())}
    return Choice(names=tuple(entry["name"] for entry in entries), aliases=aliases)
