"""What tests of formats do to a pack: change one thing of one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from metavox_collector.dataset.emit import (
    card,
    croissant,
    csv,
    datasheet,
    dictionary,
    frictionless,
    licences,
    parquet,
)
from metavox_collector.dataset.model import Dataset

Pack: TypeAlias = Mapping[str, bytes]

_OTHERS = dict.fromkeys(
    ("gdpr/dpia.md", "gdpr/notice.md", "proof/attacks.json", "proof/ledger.json", "proof/release.json"), b"not ours"
)


def pack_of(dataset: Dataset) -> dict[str, bytes]:
    """The data, and the documents that describe it; of what else a pack has, the files that these name."""
    data = {**parquet.emit(dataset), **csv.emit(dataset)}
    pack = {**data, **dictionary.emit(dataset)}
    if dataset.purpose != "publish":
        return pack
    pack |= {**croissant.emit(dataset, data), **frictionless.emit(dataset, data)}
    return {**pack, **card.emit(dataset), **datasheet.emit(dataset), **licences.emit(dataset), **_OTHERS}


def written(pack: Pack, directory: Path) -> Path:
    """The same as files."""
    for path, content in pack.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return directory


def edited(pack: Pack, path: str, change: Callable[[Any], object]) -> dict[str, bytes]:
    """The pack with one JSON file changed in place."""
    value = json.loads(pack[path])
    change(value)
    return {**pack, path: json.dumps(value).encode()}


def replaced(pack: Pack, path: str, old: str, new: str) -> dict[str, bytes]:
    """The pack with one text file changed where it said ``old``, which it must have."""
    text = pack[path].decode()
    assert old in text
    return {**pack, path: text.replace(old, new, 1).encode()}
