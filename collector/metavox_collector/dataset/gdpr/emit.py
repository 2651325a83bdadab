"""Dataset, proof and settings -> the GDPR file of a pack: every document twice, for machines and for people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from metavox_collector.dataset.gdpr import cnil
from metavox_collector.dataset.gdpr.anonymisation import anonymisation
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.coverage import coverage
from metavox_collector.dataset.gdpr.destruction import destruction
from metavox_collector.dataset.gdpr.impact import impact
from metavox_collector.dataset.gdpr.index import index, index_in_words
from metavox_collector.dataset.gdpr.notices import notices
from metavox_collector.dataset.gdpr.operations import Operations
from metavox_collector.dataset.gdpr.processor_terms import processor_terms
from metavox_collector.dataset.gdpr.questions import questions
from metavox_collector.dataset.gdpr.record import record
from metavox_collector.dataset.gdpr.rights import rights
from metavox_collector.dataset.gdpr.transfers import transfers
from metavox_collector.dataset.gdpr.vocabulary import vocabulary
from metavox_collector.dataset.json_text import legible
from metavox_collector.dataset.model import Dataset

FOLDER: Final = "gdpr/"

_DOCUMENTS: Final = (
    record,
    notices,
    processor_terms,
    anonymisation,
    destruction,
    transfers,
    rights,
    coverage,
    questions,
)


def emit(
    dataset: Dataset, audit: Mapping[str, Any], attacks: Mapping[str, Any], operations: Operations
) -> dict[str, bytes]:
    """Every file of the GDPR file, by its path in the pack; the same arguments give the same bytes.

    Args:
        dataset: The release.
        audit: ``proof/audit.json``.
        attacks: ``proof/attacks.json``.
        operations: The collector's settings.

    Raises:
        ReleaseRefused: if the audit or the attacks have no measurements to state.
    """
    case = Case(dataset, audit, attacks, operations)
    documents = [make(case) for make in _DOCUMENTS]
    assessment = impact(case)
    files = {
        **{f"{document.name}.json": document.as_json() for document in documents},
        **{f"{document.name}.md": document.as_markdown() for document in documents},
        "dpia.json": legible(assessment),
        "dpia.md": cnil.in_words(assessment),
        "dpv.jsonld": legible(vocabulary(case)),
    }
    listed = index(case, documents, assessment, {name: _sha256(content) for name, content in files.items()})
    files |= {"index.json": legible(listed), "README.md": index_in_words(listed)}
    return {FOLDER + name: content for name, content in sorted(files.items())}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
