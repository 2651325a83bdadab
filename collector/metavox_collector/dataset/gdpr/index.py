"""The list of the GDPR file: documents with versions and hashes, sources, and what is left to the controller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metavox_collector.dataset.gdpr import cnil, impact
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.statements import STATUSES, Document, plain, table


def index(
    case: Case, documents: Sequence[Document], assessment: cnil.Form, files: Mapping[str, str]
) -> dict[str, Any]:
    """The list as JSON-ready values.

    Args:
        case: What the documents were made from.
        documents: All but the impact assessment, which has a form of its own.
        assessment: The impact assessment.
        files: SHA-256 of every file by its name.
    """
    listed = [
        {"name": one.name, "title": one.title, "basis": one.basis, "version": one.version} for one in documents
    ]
    listed.append(
        {
            "name": "dpia",
            "title": "Data protection impact assessment",
            "basis": "Art. 35 GDPR",
            "version": impact.VERSION,
        }
    )
    return {
        "release": dict(documents[0].release),
        "documents": sorted(listed, key=lambda one: one["name"]),
        "files": dict(files),
        "sources": dict(case.sources),
        "statuses": dict(STATUSES),
        "open": tasks(documents, assessment),
    }


def index_in_words(content: Mapping[str, Any]) -> bytes:
    """The same as Markdown."""
    return ("\n".join(_lines(content)) + "\n").encode()


def tasks(documents: Sequence[Document], assessment: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the controller still has to confirm or to fill in, in every document."""
    return [*_open(documents), *_open_in(assessment)]


def _open(documents: Sequence[Document]) -> Iterator[dict[str, str]]:
    for document in documents:
        for section, fact in document.open_facts:
            yield {
                "document": document.name,
                "section": section.article,
                "status": fact.status,
                "statement": fact.statement,
            }


def _open_in(assessment: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for comment in assessment["comments"]:
        status, _, statement = comment["description"].removeprefix(cnil.TASK).partition(": ")
        yield {
            "document": "dpia",
            "section": str(comment["reference_to"]),
            "status": status,
            "statement": statement,
        }


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# GDPR file", "")
    yield "Made with the release from the collector's settings, schema, ledger and proof. It is no legal advice. It"
    yield "is complete when the controller has confirmed and filled in what the last section lists."
    yield ""
    yield from table([{"of": name, "is": value} for name, value in content["release"].items()])
    yield from ("", "## Documents", "", *table(content["documents"]))
    yield from ("", "## Who answers for a statement", "")
    yield from (f"- {plain(status)}: {plain(meaning)}" for status, meaning in content["statuses"].items())
    yield from ("", "## Sources", "", *table([{"source": n, "SHA-256": h} for n, h in content["sources"].items()]))
    yield from ("", "## Files", "", *table([{"file": n, "SHA-256": h} for n, h in content["files"].items()]))
    yield from ("", "## What the controller still has to do", "")
    yield from (
        f"- {plain(one['document'])}, {plain(one['section'])}, {one['status']}: {plain(one['statement'])}"
        for one in content["open"]
    )
