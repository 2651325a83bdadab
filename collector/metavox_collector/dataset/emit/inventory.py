"""What each file of a pack is for, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metavox_collector.dataset import paths
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, POLICY_PATH


@dataclass(frozen=True, slots=True)
class Listed:
    """One file: its path, its size in words, and what it is for."""

    path: str
    size: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Group:
    """The files that one kind of reader asks for."""

    name: str
    files: tuple[Listed, ...]


_GROUPS: Mapping[str, tuple[str, ...]] = {
    "The data": ("data/", "csv/", paths.DICTIONARY),
    "Descriptions, for a person or a program": (
        paths.CARD,
        paths.DATASHEET,
        paths.CROISSANT,
        paths.DATA_PACKAGE,
        "dcat.ttl",
        "contract.odcs.yaml",
    ),
    "Licences and listings": ("licences/", "listing/"),
    "The proof": ("proof/",),
    "The GDPR file": ("gdpr/",),
}

_PURPOSES: Mapping[str, str] = {
    paths.DICTIONARY: "every column with its unit and vocabulary, every metric's bucket edges, the release's facts",
    paths.CARD: "the dataset card, which the Hugging Face hub reads too",
    paths.DATASHEET: "how the data came about, what it is good for and what not (datasheet for datasets)",
    paths.CROISSANT: "Croissant 1.1 with its responsible-AI part, for machine-learning tools",
    paths.DATA_PACKAGE: "Frictionless Data Package v2",
    "dcat.ttl": "DCAT-AP 3, for data catalogues",
    "contract.odcs.yaml": "Open Data Contract 3.1: schema, quality rules, service levels",
    COMMUNITY.path: f"{COMMUNITY.identifier}, for {COMMUNITY.audience}",
    COMMERCIAL.path: "the commercial agreement, a template that binds once it is signed",
    POLICY_PATH: "both licences as ODRL policies, for programs",
    "listing/listing.yaml": "how a data marketplace lists it",
    "listing/queries.sql": "three example queries",
    "listing/sample.csv": "a sample of the figures",
    "proof/proof.md": "the proof in words: start here",
    "proof/parameters.json": "budget, noise, thresholds and coverage, as numbers",
    "proof/ledger.json": "every release and correction so far, each with the hash of the one before",
    "proof/release.json": "all that was drawn; its SHA-256 is in the ledger",
    "proof/audit.json": "the report of the audit",
    "proof/attacks.json": "the report of the attacks",
    "proof/signing_key.pem": "the public half of the key that signed",
    "gdpr/README.md": "the list of the GDPR file: start here",
    "gdpr/index.json": "the same for a program",
    "gdpr/anonymisation.md": "whether anonymous, by the three criteria of WP29 Opinion 05/2014",
    "gdpr/coverage.md": "how many installations stand behind the tables",
    "gdpr/dpia.md": "Art. 35: the impact assessment",
    "gdpr/dpia.json": "the same, as CNIL's PIA software reads it",
    "gdpr/dpv.jsonld": "the record in the Data Privacy Vocabulary",
    "gdpr/notice.md": "Art. 13: what people were told before they said yes",
    "gdpr/open-questions.md": "questions of law that are open",
    "gdpr/processor-terms.md": "Art. 28: terms for processors",
    "gdpr/record.md": "Art. 30: the record of processing",
    "gdpr/retention.md": "what was kept, for how long, and when it was destroyed",
    "gdpr/rights.md": "how requests of people are handled",
    "gdpr/transfers.md": "transfers to other countries",
}


def groups(files: Mapping[str, bytes]) -> tuple[Group, ...]:
    """The pack's files, each in one group, in a reader's order."""
    left = dict.fromkeys(sorted(files))
    found = []
    for name, prefixes in _GROUPS.items():
        here = [path for prefix in prefixes for path in left if path.startswith(prefix)]
        for path in here:
            del left[path]
        found.append(Group(name, tuple(_listed(path, files[path]) for path in here)))
    found.append(Group("Others", tuple(_listed(path, files[path]) for path in left)))
    return tuple(group for group in found if group.files)


def _listed(path: str, content: bytes) -> Listed:
    return Listed(path, size(len(content)), purpose(path))


def size(length: int) -> str:
    """Bytes in words."""
    if length < 1024:
        return f"{length} B"
    return f"{length / 1024:.1f} KiB" if length < 1024**2 else f"{length / 1024**2:.1f} MiB"


def purpose(path: str) -> str:
    """What a file is for."""
    if path in _PURPOSES:
        return _PURPOSES[path]
    folder, _, name = path.partition("/")
    table, _, ending = name.partition(".")
    if folder == "data":
        return f"the table '{table}' as Parquet, typed, with units"
    if folder == "csv":
        return f"the same rows of '{table}' as CSV"
    if folder == "listing":
        return f"an export of the listing for {table.title()}"
    if folder == "gdpr" and ending == "json":
        return f"{table}.md for a program"
    return ""
