"""The GDPR file of a pack -> what is wrong with it: missing elements of the law, and documents that disagree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator

from metavox_collector.dataset.gdpr import cnil
from metavox_collector.dataset.gdpr.anonymisation import CRITERIA
from metavox_collector.dataset.gdpr.destruction import ROW
from metavox_collector.dataset.gdpr.emit import FOLDER
from metavox_collector.dataset.gdpr.index import index_in_words, tasks
from metavox_collector.dataset.gdpr.statements import SOURCES, Document, Fact, Section, document_of
from metavox_collector.dataset.gdpr.vocabulary import TERMS, terms_in
from metavox_collector.dataset.json_text import legible
from metavox_privacy.notice import LANGUAGES

ELEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "record": (
        *(f"30(1)({letter})" for letter in "abcdefg"),
        *(f"30(2)({letter})" for letter in "abcd"),
    ),
    "notice": (
        *(f"words ({language})" for language in LANGUAGES),
        *(f"13(1)({letter})" for letter in "abcdef"),
        *(f"13(2)({letter})" for letter in "abcdef"),
    ),
    "processor-terms": ("parties", "28(3)", *(f"28(3)({letter})" for letter in "abcdefgh"), "28(9)"),
    "anonymisation": ("scope", "mechanism", "singling out", "linkability", "inference", "residual", "law"),
    "retention": ("destroyed", "limits", "remains", "not stated"),
    "transfers": ("sending", "staging", "processors", "publication"),
    "rights": ("11", "12", "13, 14", *map(str, range(15, 23)), "7(3)", "77"),
    "coverage": ("who", "how many", "say"),
    "open-questions": ("date",),
}
"""What each document must have, by the provision that asks for it."""

OF_IMPACT: Final[Mapping[str, tuple[int, ...]]] = {
    "35(7)(a)": tuple(question for question in cnil.QUESTIONS if question < 200),
    "35(7)(b)": tuple(question for question in cnil.QUESTIONS if 200 < question < 300),
    "35(7)(c)": tuple(question for question in cnil.QUESTIONS if question > 300 and question % 10 != 4),
    "35(7)(d)": (324, 334, 344),
}
"""Which answers of the impact assessment make which element of Art. 35(7)."""

NEEDED_TERMS: Final = (
    *("dpv:hasDataController", "dpv:hasDataSubject", "dpv:hasPurpose", "dpv:hasLegalBasis", "dpv:hasPersonalData"),
    *("dpv:hasRecipient", "dpv:hasStorageCondition", "dpv:hasTechnicalOrganisationalMeasure", "dpv:hasRight"),
    *("dpv:hasNotice", "dpv:hasRisk", "dpv:DifferentialPrivacy", "eu-gdpr:A6-1-a"),
)
"""What the description in the Data Privacy Vocabulary cannot do without."""

RELEASE: Final = "SHA-256 of the release"
"""Under which name every document states its release."""

_OF_INDEX: Final = ("index.json", "README.md")

FILES: Final = (
    *(f"{name}.{ending}" for name in ELEMENTS for ending in ("json", "md")),
    *("dpia.json", "dpia.md", "dpv.jsonld", "index.json", "README.md"),
)
"""Every file of the GDPR file."""


def check(pack: Mapping[str, bytes]) -> list[str]:
    """Look at the GDPR file among a pack's files; one line for each thing that is wrong, which names its file."""
    mine = {name.removeprefix(FOLDER): content for name, content in pack.items() if name.startswith(FOLDER)}
    problems = [f"{FOLDER}{name}: it is missing" for name in FILES if name not in mine]
    problems += [f"{FOLDER}{name}: no such file belongs here" for name in mine if name not in FILES]
    if problems:
        return problems
    return [f"{FOLDER}{name}: {says}" for name, says in _contents(mine)]


def _contents(mine: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    documents = []
    for name in ELEMENTS:
        document, problems = _read(name, mine)
        yield from problems
        if document is None:
            return  # nothing can be held against what cannot be read
        yield from ((f"{name}.json", says) for says in _document(name, document))
        documents.append(document)
    of = documents[0].release
    for one in documents:
        if one.release != of:
            yield f"{one.name}.json", "it is of another release than record.json"
    yield from _impact(mine, of)
    yield from _vocabulary(mine, of)
    yield from _index(mine, documents)


def _read(name: str, mine: Mapping[str, bytes]) -> tuple[Document | None, list[tuple[str, str]]]:
    """A document, None when it cannot be read; and whether it is in its one form, and its twin says the same."""
    try:
        document = document_of(json.loads(mine[f"{name}.json"]))
        again, words = document.as_json(), document.as_markdown()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return None, [(f"{name}.json", f"it is no document of this form ({type(error).__name__}: {error})")]
    problems = []
    if again != mine[f"{name}.json"]:
        problems.append((f"{name}.json", "it is not in its one form"))
    if words != mine[f"{name}.md"]:
        problems.append((f"{name}.md", f"it does not say what {name}.json says"))
    return document, problems


def _document(name: str, document: Document) -> Iterator[str]:
    if document.name != name:
        yield f"it calls itself {document.name}"
    sections = {section.article: section for section in document.sections if section.facts}
    missing = [article for article in ELEMENTS[name] if article not in sections]
    yield from (f"it says nothing of {article}" for article in missing)
    for section in document.sections:
        yield from (f"{section.article}: {says}" for fact in section.facts for says in _fact(fact))
    if not missing and name in _PARTICULARS:
        try:
            yield from _PARTICULARS[name](sections)
        except (KeyError, TypeError) as error:
            yield f"its rows are not of this form ({type(error).__name__}: {error})"


def _fact(fact: Fact) -> Iterator[str]:
    kind, _, what = fact.source.partition(": ")
    if not fact.statement.strip():
        yield "a statement is empty"
    if kind not in SOURCES or not what:
        yield f"the source of “{fact.statement}” is none"


def _words(sections: Mapping[str, Section]) -> Iterator[str]:
    for language in LANGUAGES:
        if not sections[f"words ({language})"].verbatim:
            yield f"the words in {language} are missing"


def _destroyed(sections: Mapping[str, Section]) -> Iterator[str]:
    """A row for each week, and in it what is known without counting."""
    rows = sections["destroyed"].rows
    if not rows:
        yield "it names no week"
    for row in rows:
        if tuple(row) != ROW:
            yield f"a week has other facts than {', '.join(ROW)}"


def _measured(sections: Mapping[str, Section]) -> Iterator[str]:
    """Every criterion has measurements, and none is called within a limit that it is beyond."""
    for article in ("mechanism", *CRITERIA):
        if not sections[article].rows:
            yield f"nothing was measured for {article}"
        for row in sections[article].rows:
            if (row["at_least"] <= row["limit"]) < row["within_limit"]:
                yield f"{row['measurement']} is called within its limit, and is beyond it"


_PARTICULARS: Final = {"notice": _words, "retention": _destroyed, "anonymisation": _measured}


def _impact(mine: Mapping[str, bytes], of: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        content = json.loads(mine["dpia.json"])
    except ValueError as error:
        yield "dpia.json", f"it is no JSON ({error})"
        return
    problems = [f"{one.json_path}: {one.message[:200]}" for one in _validator().iter_errors(content)]
    yield from (("dpia.json", says) for says in problems)
    if problems:
        return
    answered = {answer["reference_to"] for answer in content["answers"]}
    for element, questions in OF_IMPACT.items():
        missing = [str(question) for question in questions if question not in answered]
        if missing:
            yield "dpia.json", f"{element} is not whole: nothing answers {', '.join(missing)}"
    titles = {measure["title"] for measure in content["measures"]}
    for answer in content["answers"]:
        if answer["reference_to"] in OF_IMPACT["35(7)(d)"] and not titles.issuperset(answer["data"]["list"]):
            yield "dpia.json", f"{answer['reference_to']} names a measure that is not described"
    if str(of.get(RELEASE)) not in content["pia"]["category"]:
        yield "dpia.json", "it is of another release than record.json"
    if legible(content) != mine["dpia.json"]:
        yield "dpia.json", "it is not in its one form"
    if not answered - set(cnil.QUESTIONS) and cnil.in_words(content) != mine["dpia.md"]:
        yield "dpia.md", "it does not say what dpia.json says"


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    schema = files("metavox_collector.dataset.gdpr").joinpath("pia.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(schema))


def _vocabulary(mine: Mapping[str, bytes], of: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        content = json.loads(mine["dpv.jsonld"])
    except ValueError as error:
        yield "dpv.jsonld", f"it is no JSON ({error})"
        return
    used = terms_in(content)
    yield from (("dpv.jsonld", f"{term} is no term that is known here") for term in sorted(used - TERMS))
    for term in NEEDED_TERMS:
        if term not in used:
            yield "dpv.jsonld", f"{term} is missing"
    if not isinstance(content, dict) or content.get("@id") != f"urn:sha256:{of.get(RELEASE)}":
        yield "dpv.jsonld", "it is of another release than record.json"
    if legible(content) != mine["dpv.jsonld"]:
        yield "dpv.jsonld", "it is not in its one form"


def _index(mine: Mapping[str, bytes], documents: Sequence[Document]) -> Iterator[tuple[str, str]]:
    try:
        content = json.loads(mine["index.json"])
        words, hashes, tasked = index_in_words(content), dict(content["files"]), content["open"]
        assessment = json.loads(mine["dpia.json"])
        expected = tasks(documents, assessment)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        yield "index.json", f"it is no list of this form ({type(error).__name__}: {error})"
        return
    listed = {name: _sha256(content) for name, content in mine.items() if name not in _OF_INDEX}
    for name in sorted(listed.keys() ^ hashes.keys()):
        yield "index.json", f"it lists {name} or has it, and not both"
    for name, digest in listed.items():
        if name in hashes and hashes[name] != digest:
            yield name, "it is not the file that index.json lists"
    if content["release"] != documents[0].release:
        yield "index.json", "it is of another release than record.json"
    if tasked != expected:
        yield "index.json", "it does not list what the documents leave to the controller"
    if legible(content) != mine["index.json"]:
        yield "index.json", "it is not in its one form"
    if words != mine["README.md"]:
        yield "README.md", "it does not say what index.json says"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
