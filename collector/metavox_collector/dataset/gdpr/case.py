"""What the documents are made from: one release, what proves it, and how its collector is run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from metavox_collector.dataset.facts import period
from metavox_collector.dataset.gdpr.gates import Gate, Plant, gates_of, plants_of
from metavox_collector.dataset.gdpr.operations import Operations
from metavox_collector.dataset.gdpr.statements import Document, Section, canonical
from metavox_collector.dataset.model import Dataset
from metavox_privacy.budget import LedgerEntry, releases_in
from metavox_privacy.declaration import declaration
from metavox_privacy.notice import notice_hashes
from metavox_privacy.release import Release
from metavox_privacy.retention import RETENTION


@dataclass(frozen=True)
class Case:
    """One release with what is known of how it came about.

    Attributes:
        dataset: The release and its ledger.
        audit: The report of the audit, as ``proof/audit.json`` holds it.
        attacks: The report of the attacks, as ``proof/attacks.json`` holds it.
        operations: The collector's settings.
    """

    dataset: Dataset
    audit: Mapping[str, Any]
    attacks: Mapping[str, Any]
    operations: Operations

    @property
    def release(self) -> Release:
        """The release that the documents go with."""
        return self.dataset.release

    @cached_property
    def entry(self) -> LedgerEntry:
        """The ledger entry that paid for it."""
        (paid,) = (one for one in releases_in(self.dataset.history) if one.release == self.release.sha256)
        return paid

    @property
    def entry_source(self) -> str:
        """How a statement names it."""
        return f"ledger: entry {self.entry.sequence}"

    @property
    def period(self) -> str:
        """The weeks that were released together, with their days."""
        return period(self.release.week, self.release.weeks)

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """What the audit and the attacks measured."""
        return (*gates_of(self.audit, "audit"), *gates_of(self.attacks, "attacks"))

    @cached_property
    def plants(self) -> tuple[Plant, ...]:
        """The faults that the audit had to catch."""
        return plants_of(self.audit)

    @property
    def holds(self) -> bool:
        """Whether every measurement is within its limit, by an audit that misses no planted fault."""
        return all(gate.passed for gate in self.gates) and all(plant.caught for plant in self.plants)

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """SHA-256 of everything that the documents are made from, by name."""
        schema = self.dataset.schema
        return {
            "software": self.dataset.code.sha256,
            "schema": schema.fingerprint,
            "release": self.release.sha256,
            "ledger entry": self.entry.hash,
            **{f"notice ({language})": digest for language, digest in notice_hashes(schema).items()},
            "retention": _sha256([list(line) for line in RETENTION]),
            "declaration": _sha256(declaration(schema)),
            "audit": _sha256(self.audit),
            "attacks": _sha256(self.attacks),
            "settings": _sha256(
                {"operations": asdict(self.operations), "publisher": asdict(self.dataset.publisher)}
            ),
        }

    def document(self, name: str, title: str, basis: str, version: str, *sections: Section) -> Document:
        """A document of this release."""
        return Document(name, title, basis, version, self._of, sections)

    @cached_property
    def _of(self) -> Mapping[str, Any]:
        code = self.dataset.code
        return {
            "release": self.period,
            "purpose": self.release.purpose,
            "scope": self.release.scope,
            "synthetic": self.dataset.synthetic,
            "schema version": self.release.schema_version,
            "SHA-256 of the release": self.release.sha256,
            "ledger entry": self.entry.sequence,
            "hash of that entry": self.entry.hash,
            "issued": self.dataset.issued.isoformat(),
            "software": f"metavox {code.version}, sources {code.sha256}",
            "SHA-256 of all sources": _sha256(dict(self.sources)),
        }


def _sha256(content: object) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()
