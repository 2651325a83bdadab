"""A whole, signed pack of the shipped schema, without the minutes that its audit and its attacks take."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from metavox_collector.dataset.code import this_code
from metavox_collector.dataset.model import dataset_of
from metavox_collector.pack.release import pack_of
from metavox_collector.simulate.fleet import fleet
from metavox_collector.store import LabelledRelease
from metavox_privacy.budget import LedgerEntry, authorize
from metavox_privacy.cells import fold
from metavox_privacy.fields import Scope
from metavox_privacy.release import Release, make_release
from metavox_privacy.schema import SCHEMA
from tests.unit.collector import packs
from tests.unit.collector.emit.datasets import CAP, NANO_RHO, WEEK, example_dataset

OFTEN = 60


@lru_cache
def whole(scope: Scope = "full") -> Mapping[str, bytes]:
    """Every file of a synthetic release with nine cells a table at most, by its path."""
    made = example_dataset(scope=scope)
    return _packed(made.release, made.history)


@lru_cache
def drawn() -> Mapping[str, bytes]:
    """Every file of a coarse release that was drawn as every release is: as of 18,000 simulated installations."""
    tables = SCHEMA.in_scope("coarse")
    sums = fold(fleet(300, WEEK, SCHEMA, seed=1), SCHEMA, tables)
    for cell in (cell for cells in sums.values() for cell in cells.values()):
        cell.contributors *= OFTEN
        cell.histograms = {name: [units * OFTEN for units in found] for name, found in cell.histograms.items()}
    authorization = authorize(
        (),
        week=WEEK,
        purpose="publish",
        scope="coarse",
        schema_version=SCHEMA.version,
        nano_rho=NANO_RHO,
        yearly_cap=CAP,
        sandbox=True,
    )
    release = make_release(sums, SCHEMA, authorization)
    return _packed(release, (authorization.settle(release.sha256),))


def _packed(release: Release, history: tuple[LedgerEntry, ...]) -> Mapping[str, bytes]:
    inputs = packs.inputs(release, SCHEMA)
    dataset = dataset_of(
        LabelledRelease(release, synthetic=True),
        history,
        SCHEMA,
        publisher=inputs.publisher,
        issued=inputs.issued,
        code=this_code(),
    )
    return pack_of(dataset, inputs, packs.KEY)


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A pack as a directory under this one."""
    root = folder / "metavox-2026-W47-publish-synthetic"
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
