"""The datasheet: all seven sections of Gebru et al. 2021, each point answered, with the figures of this release."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.links import broken
from metavox_collector.dataset.checks.reading import Pack, telling, text
from metavox_collector.dataset.paths import DATASHEET

POINTS: Mapping[str, tuple[str, ...]] = {
    "1. Motivation": ("Purpose", "Creators", "Funding"),
    "2. Composition": (
        "Instances",
        "How many",
        "Sample or everything",
        "Content of an instance",
        "Labels",
        "Missing",
        "Relations between instances",
        "Splits",
        "Errors, noise, redundancy",
        "Self-contained",
        "Confidential content",
        "Offensive content",
        "Groups of people",
        "Identifiable individuals",
        "Special categories (GDPR, Article 9)",
    ),
    "3. Collection process": (
        "How",
        "Measured or reported",
        "Sampling",
        "Who was involved",
        "Timeframe",
        "Ethical review",
        "From the individuals directly",
        "Notice and consent",
        "Withdrawal",
        "Impact on the people",
    ),
    "4. Preprocessing, cleaning, labelling": ("Raw data", "Software"),
    "5. Uses": ("So far", "Could be used for", "What may affect later uses", "Should not be used for"),
    "6. Distribution": (
        "To whom",
        "How",
        "When",
        "Licence",
        "Third parties' rights",
        "Export or regulatory restrictions",
    ),
    "7. Maintenance": (
        "Privacy budget",
        "Erratum",
        "Retention of what it was made from",
        "Older versions",
        "Contributing",
    ),
}
"""The points of each section, in our words."""

_POINT = re.compile(r"^\*\*([^*]+)\.\*\*", re.MULTILINE)


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the datasheet, a line each."""
    sheet = text(pack, DATASHEET)
    described = dictionary(pack)
    return [
        f"{DATASHEET}: {problem}"
        for problem in (*_sections(sheet), *_facts(sheet, described), *broken(sheet, pack))
    ]


def _sections(sheet: str) -> Iterator[str]:
    _, *parts = re.split(r"^## ", sheet, flags=re.MULTILINE)
    sections = {title: body for title, _, body in (part.partition("\n") for part in parts)}
    if list(sections) != list(POINTS):
        yield f"its sections are {', '.join(sections) or 'none'}; there should be {', '.join(POINTS)}"
    for title, points in POINTS.items():
        pieces = _POINT.split(sections.get(title, ""))
        answers = dict(zip(pieces[1::2], pieces[2::2], strict=True))
        yield from (f"{title}: nothing on '{point}'" for point in points if not answers.get(point, "").strip())


def _facts(sheet: str, described: dict[str, Any]) -> Iterator[str]:
    release = described["release"]
    needed = {
        "the title": described["title"],
        "the version": f"version {described['version']}",
        "the day it was issued": described["issued"],
        "the publisher": described["publisher"]["name"],
        "the week": release["week"],
        "ρ": f"ρ = {release['rho']:g}",
        "ε": f"ε = {release['epsilon']:.3g}",
        "the licence": described["licence"].split()[0],
        "the code's SHA-256": described["code"]["sha256"],
    }
    yield from (f"does not say {what}" for what, words in needed.items() if words not in sheet)
    for table in described["tables"]:
        row = f"| `{table['name']}` | {table['rows']:,} | {table['cells']:,} | {table['possible_cells']:,} |"
        if f"{row} {table['threshold']} |" not in sheet:
            yield f"does not say the rows, cells and threshold of {table['name']}"
    if ("\n**Synthetic:" in sheet) != release["synthetic"]:
        yield "does not say at its head whether the release is synthetic"
