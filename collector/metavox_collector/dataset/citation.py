"""How a release is cited."""

from __future__ import annotations

from metavox_collector.dataset.model import Dataset


def citation(dataset: Dataset) -> str:
    """The release as a BibTeX entry."""
    key = dataset.name.lower().replace("-", "_")
    url = f"  url = {{{dataset.publisher.url}}},\n" if dataset.publisher.url else ""
    return (
        f"@misc{{{key},\n  title = {{{dataset.title}}},\n  author = {{{{{dataset.publisher.name}}}}},\n"
        f"  year = {{{dataset.issued.year}}},\n  version = {{{dataset.version}}},\n{url}"
        f"  note = {{Release SHA-256 {dataset.statement.release}}}\n}}"
    )
