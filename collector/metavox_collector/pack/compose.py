"""Dataset -> every file of its pack: the one place that knows all formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metavox_collector.dataset import gdpr
from metavox_collector.dataset.emit import (
    card,
    contract,
    croissant,
    csv,
    datasheet,
    dcat,
    dictionary,
    frictionless,
    licences,
    listing,
    page,
    parquet,
)
from metavox_collector.dataset.facts import facts
from metavox_collector.dataset.model import Dataset
from metavox_collector.dataset.paths import CARD, parquet_path
from metavox_collector.pack.inputs import Inputs
from metavox_collector.proof import canonical, raw
from metavox_collector.proof.parameters import made_by, parameters
from metavox_collector.proof.paths import ATTACKS, AUDIT, LEDGER, PARAMETERS, RELEASE, WORDS
from metavox_collector.proof.words import words
from metavox_privacy.notice import notice_hashes

_PREVIEW = """# {title}: a preview

These are the data of a release, to look at. Nothing here was audited, attacked, documented or signed, so hand it on
to nobody: `metavox-collector release` without `--preview` writes the pack that can be checked.
"""


def compose(dataset: Dataset, inputs: Inputs) -> dict[str, bytes]:
    """Every file but the signature and the key, by its path in the pack."""
    data = {**parquet.emit(dataset), **csv.emit(dataset)}
    return {**data, **documents(dataset, inputs, data)}


def preview(dataset: Dataset) -> dict[str, bytes]:
    """The data alone, and what says that it is no pack."""
    told = _PREVIEW.format(title=dataset.title).encode()
    return {**parquet.emit(dataset), **csv.emit(dataset), **dictionary.emit(dataset), CARD: told}


def again(dataset: Dataset, inputs: Inputs, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every file but the Parquet ones, from these and from what the pack was made of.

    Parquet's own bytes depend on the library that writes them; what they hold is compared elsewhere.
    """
    columnar = {name: files[name] for name in map(parquet_path, (table.name for table in dataset.tables))}
    rows = csv.emit(dataset)
    return {**rows, **documents(dataset, inputs, {**columnar, **rows})}


def predicate(dataset: Dataset) -> dict[str, Any]:
    """The facts of a release that the signed statement states beside the hashes."""
    release = dataset.release
    return {
        "dataset": dataset.name,
        "version": dataset.version,
        "issued": dataset.issued.isoformat(),
        "publisher": dataset.publisher.name,
        **facts(release, synthetic=dataset.synthetic),
        "schema_fingerprint": dataset.schema.fingerprint,
        "release_sha256": release.sha256,
        "ledger_entries": len(dataset.history),
        "ledger_head": dataset.history[-1].hash,
        "notices": notice_hashes(dataset.schema),
        "made_by": made_by(dataset.code),
    }


def documents(dataset: Dataset, inputs: Inputs, data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every file that is not data: what says what the data are, and what proves it. No clock, no network.

    Args:
        dataset: The release.
        inputs: What the documents say beside.
        data: The data files, whose hashes some documents state.
    """
    made: dict[str, bytes] = {}
    for part in _parts(dataset, inputs, data):
        assert not made.keys() & part.keys(), "two emitters write the same file"
        made.update(part)
    if dataset.purpose == "publish":  # it lists all others
        made.update(page.emit(dataset, {**data, **made}, inputs.audit, inputs.attacks))
    return made


def _parts(dataset: Dataset, inputs: Inputs, data: Mapping[str, bytes]) -> Iterator[Mapping[str, bytes]]:
    yield proof(dataset, inputs)
    yield dictionary.emit(dataset)
    yield gdpr.emit(dataset, inputs.audit, inputs.attacks, inputs.operations)
    if dataset.purpose == "publish":  # nobody agreed to the others' being offered to anybody
        yield card.emit(dataset)
        yield croissant.emit(dataset, data)
        yield frictionless.emit(dataset, data)
        yield dcat.emit(dataset, data)
        yield contract.emit(dataset)
        yield licences.emit(dataset)
        yield listing.emit(dataset, data)
        yield datasheet.emit(dataset)


def proof(dataset: Dataset, inputs: Inputs) -> dict[str, bytes]:
    """What a stranger holds the release against."""
    stated = parameters(dataset, inputs.documents)
    return {
        RELEASE: raw.release_bytes(dataset.release),
        LEDGER: raw.ledger_bytes(dataset.history),
        PARAMETERS: canonical.legible(stated),
        AUDIT: canonical.legible(inputs.audit),
        ATTACKS: canonical.legible(inputs.attacks),
        WORDS: words(dataset, stated, inputs.audit, inputs.attacks),
    }
