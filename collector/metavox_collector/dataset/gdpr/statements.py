"""What the documents are made of: statements, each of which says where it comes from and who answers for it.

A document is a value. Its JSON and its Markdown are two renderings of that value, so neither can say what the
other does not, and a check can render the one from the other again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from metavox_collector.dataset.json_text import legible

Status: TypeAlias = Literal["derived", "declared", "to confirm", "to fill in"]

STATUSES: Final[Mapping[Status, str]] = {
    "derived": "from the software, its schema, the ledger, the release or its proof",
    "declared": "by the controller, in a setting of the collector",
    "to confirm": "proposed here; the controller decides whether it is so",
    "to fill in": "not known to the software; the controller writes it",
}
"""Who answers for a statement, and how it came to be there."""

_MARKDOWN: Final = re.compile(r"([\\`*\[\]|])")


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement.

    Attributes:
        statement: In plain words, on one line.
        source: Where it comes from, as ``kind: what``; the kinds are in :data:`SOURCES`.
        status: Who answers for it.
    """

    statement: str
    source: str
    status: Status


SOURCES: Final[Mapping[str, str]] = {
    "schema": "a field, metric, table or number of the schema of what may leave a machine",
    "setting": "a setting of the collector, without its prefix",
    "code": "the module that does what is stated",
    "release": "the release itself",
    "ledger": "the ledger of all releases",
    "proof": "a file of the release's proof pack",
    "law": "a provision, a judgment or guidance that is named in the statement",
    "controller": "the controller's own organisation",
}
"""The kinds of sources."""


@dataclass(frozen=True, slots=True)
class Section:
    """One element of a document.

    Attributes:
        article: The provision that asks for it, like ``30(1)(a)``; it is the section's name for machines.
        title: For people.
        facts: What is stated.
        rows: The same in numbers, for machines; all rows have the same keys.
        verbatim: Words as they were shown to people, with their line breaks.
    """

    article: str
    title: str
    facts: tuple[Fact, ...]
    rows: tuple[Mapping[str, Any], ...] = ()
    verbatim: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Attributes:
        name: Its file's name without an ending.
        title: For people.
        basis: Which law asks for it.
        version: Of its words; it goes up when they change.
        release: Of which release it is, and from which sources it was made, by name.
        sections: What it says.
    """

    name: str
    title: str
    basis: str
    version: str
    release: Mapping[str, Any]
    sections: tuple[Section, ...]

    @property
    def open_facts(self) -> list[tuple[Section, Fact]]:
        """What the controller still has to confirm or to write."""
        return [
            (section, fact) for section in self.sections for fact in section.facts if fact.status.startswith("to ")
        ]

    def as_json(self) -> bytes:
        """The document for machines; there is one form."""
        return legible(asdict(self))

    def as_markdown(self) -> bytes:
        """The document for people."""
        return ("\n".join(_lines(self)) + "\n").encode()


def derived(statement: str, source: str) -> Fact:
    """What the software did, or what follows from its parts."""
    return _fact(statement, source, "derived")


def declared(value: str | None, setting: str, before: str = "", after: str = "") -> Fact:
    """What the controller has said in a setting, or that they still have to."""
    if value:
        return _fact(f"{before}{value}{after}", f"setting: {setting}", "declared")
    return _fact(f"{before}… (the setting {setting} is not set)", f"setting: {setting}", "to fill in")


def confirm(statement: str, source: str = "controller: organisation") -> Fact:
    """What is proposed, and for the controller to decide."""
    return _fact(statement, source, "to confirm")


def fill(statement: str) -> Fact:
    """What only the controller knows."""
    return _fact(statement, "controller: organisation", "to fill in")


def document_of(content: Mapping[str, Any]) -> Document:
    """The document that a JSON file holds.

    Raises:
        KeyError: if a part is missing.
        TypeError: if a part is of another form.
        ValueError: if a status is none.
    """
    sections = tuple(
        Section(
            part["article"],
            part["title"],
            tuple(_read(fact) for fact in part["facts"]),
            tuple(part["rows"]),
            part["verbatim"],
        )
        for part in content["sections"]
    )
    return Document(
        content["name"], content["title"], content["basis"], content["version"], content["release"], sections
    )


def canonical(content: object) -> bytes:
    """JSON for hashes, of which there is one form."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def plain(text: str) -> str:
    """Text that Markdown shows as it is, whatever is in it."""
    return _MARKDOWN.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as a Markdown table; their keys are the columns."""
    columns = list(rows[0])
    head = [f"| {' | '.join(plain(name.replace('_', ' ')) for name in columns)} |", "| --- " * len(columns) + "|"]
    return head + [f"| {' | '.join(plain(_cell(row[name])) for name in columns)} |" for row in rows]


def _fact(statement: str, source: str, status: Status) -> Fact:
    if source.partition(": ")[0] not in SOURCES:
        raise ValueError(f"{source!r} is of no known kind of source")
    return Fact(" ".join(statement.split()), source, status)


def _read(fact: Mapping[str, Any]) -> Fact:
    if fact["status"] not in STATUSES:
        raise ValueError(f"{fact['status']!r} is no status of a statement")
    return Fact(fact["statement"], fact["source"], fact["status"])


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {plain(document.title)}", "")
    yield from (f"{plain(document.basis)}. Version {plain(document.version)} of this document's words.", "")
    yield from table([{"of": name, "is": value} for name, value in document.release.items()])
    yield ""
    yield "In brackets: the source of a statement. *To confirm* and *to fill in* are the controller's."
    for section in document.sections:
        yield from ("", f"## {plain(section.article)}: {plain(section.title)}", "")
        yield from (_line(fact) for fact in section.facts)
        if section.rows:
            yield from ("", *table(section.rows))
        if section.verbatim:
            yield from ("", "```text", *section.verbatim.splitlines(), "```")


def _line(fact: Fact) -> str:
    mark = f"**{fact.status.capitalize()}:** " if fact.status.startswith("to ") else ""
    return f"- {mark}{plain(fact.statement)} ({plain(fact.source)})"
