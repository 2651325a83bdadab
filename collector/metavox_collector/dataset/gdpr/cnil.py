"""The form of an impact assessment that CNIL's PIA software imports and exports, and that form in words.

The software (github.com/LINCnil/pia, looked at in November 2026) exports one JSON object of five parts: the
assessment itself, answers by the number of their question, measures, evaluations and comments. An answer holds rich
text as HTML, a list, or text with a gauge from 1 to 4. ``pia.schema.json`` states that form; questions are numbered
as in the software's ``pia_architecture.json``, and their words here are ours.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from metavox_collector.dataset.gdpr.statements import Fact, plain

Kind: TypeAlias = Literal["text", "list", "gauge"]
Form: TypeAlias = dict[str, Any]

PARTS: Final = {1: "Context", 2: "Fundamental principles", 3: "Risks"}
ITEMS: Final = {
    11: "Overview",
    12: "Data, processes and supporting assets",
    21: "Proportionality and necessity",
    22: "Controls that protect people's rights",
    32: "Illegitimate access to data",
    33: "Unwanted modification of data",
    34: "Disappearance of data",
}
_OF_A_RISK: Final[tuple[tuple[str, Kind], ...]] = (
    ("Impacts on people", "list"),
    ("Threats", "list"),
    ("Sources of risk", "list"),
    ("Measures that treat it", "list"),
    ("Severity", "gauge"),
    ("Likelihood", "gauge"),
)
QUESTIONS: Final[Mapping[int, tuple[str, Kind]]] = {
    111: ("The processing", "text"),
    112: ("Responsibilities", "text"),
    113: ("Standards that apply", "text"),
    121: ("The data", "text"),
    122: ("Their life cycle", "text"),
    123: ("Supporting assets", "text"),
    211: ("Purposes: specified, explicit, legitimate", "text"),
    212: ("Legal basis", "text"),
    213: ("Minimisation", "text"),
    214: ("Accuracy", "text"),
    215: ("Retention", "text"),
    221: ("Information", "text"),
    222: ("Consent", "text"),
    223: ("Access and portability", "text"),
    224: ("Rectification and erasure", "text"),
    225: ("Restriction and objection", "text"),
    226: ("Processors", "text"),
    227: ("Transfers", "text"),
    **{10 * item + n: question for item in (32, 33, 34) for n, question in enumerate(_OF_A_RISK, 1)},
}
"""Every question of the software's standard structure: its number, our short title, and the kind of its answer."""

TASK: Final = "The controller's, "
"""How a comment begins that says what the controller still has to do."""

GAUGES: Final = {1: "negligible", 2: "limited", 3: "significant", 4: "maximum"}

_MARK: Final = re.compile(r"<[^>]+>")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one question.

    Attributes:
        facts: What is stated.
        gauge: 1 to 4 for a severity or a likelihood, else None.
        titles: The titles of measures, which stand for themselves; with facts the answer has none.
    """

    facts: tuple[Fact, ...] = ()
    gauge: int | None = None
    titles: tuple[str, ...] = ()


def form(
    pia: Mapping[str, Any], answers: Mapping[int, Answer], measures: tuple[tuple[str, Fact], ...], created: str
) -> Form:
    """The whole export.

    Args:
        pia: The assessment's own values: its name, its people.
        answers: By the question's number.
        measures: Titles and what is done.
        created: A moment as ISO 8601 has it, for everything.
    """
    return {
        "pia": {"id": 1, "status": 0, "is_example": 0, "is_archive": 0, "created_at": created, **pia},
        "answers": [
            {
                "id": number,
                "pia_id": 1,
                "reference_to": question,
                "data": _data(question, answer),
                "created_at": created,
            }
            for number, (question, answer) in enumerate(answers.items(), 1)
        ],
        "measures": [
            {
                "id": number,
                "pia_id": 1,
                "title": title,
                "content": _paragraphs((fact,)),
                "placeholder": "measures.default_placeholder",
                "created_at": created,
            }
            for number, (title, fact) in enumerate(measures, 1)
        ],
        # An evaluation is the act of a person who is not the author. With none the software lets answers be edited.
        "evaluations": [],
        "comments": [
            {"id": number, "pia_id": 1, "reference_to": question, "for_measure": False, "created_at": created}
            | {"description": f"{TASK}{fact.status}: {fact.statement}"}
            for number, (question, fact) in enumerate(_open(answers), 1)
        ],
    }


def in_words(content: Mapping[str, Any]) -> bytes:
    """The same export as Markdown, question by question; it says nothing that the export does not."""
    return ("\n".join(_lines(content)) + "\n").encode()


def _data(question: int, answer: Answer) -> Form:
    if QUESTIONS[question][1] == "list":
        return {"text": None, "gauge": None, "list": [*answer.titles, *map(_statement, answer.facts)]}
    return {"text": _paragraphs(answer.facts), "gauge": answer.gauge, "list": []}


def _paragraphs(facts: tuple[Fact, ...]) -> str:
    return "".join(f"<p>{html.escape(_statement(fact))}</p>" for fact in facts)


def _statement(fact: Fact) -> str:
    mark = f"{fact.status.capitalize()}: " if fact.status.startswith("to ") else ""
    return f"{mark}{fact.statement} ({fact.source})"


def _open(answers: Mapping[int, Answer]) -> Iterator[tuple[int, Fact]]:
    for question, answer in answers.items():
        yield from ((question, fact) for fact in answer.facts if fact.status.startswith("to "))


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    pia = content["pia"]
    yield from (f"# {plain(pia['name'])}", "", "Art. 35 GDPR, in the form of CNIL's PIA software: dpia.json.", "")
    yield f"- Author: {plain(pia['author_name'])}"
    yield f"- Evaluator: {plain(pia['evaluator_name'])}"
    yield f"- Validator: {plain(pia['validator_name'])}"
    yield f"- Category: {plain(pia['category'])}"
    answers = {answer["reference_to"]: answer["data"] for answer in content["answers"]}
    part = item = 0
    for question, data in answers.items():
        if question // 100 != part:
            part = question // 100
            yield from ("", f"## {part}. {PARTS[part]}")
            yield from _measures(content) if part == 3 else ()
        if question // 10 != item:
            item = question // 10
            yield from ("", f"### {part}.{item % 10} {ITEMS[item]}")
        yield from ("", f"#### {question} {QUESTIONS[question][0]}{_gauge(data['gauge'])}", "")
        yield from (f"- {plain(line)}" for line in data["list"] or _unmarked(data["text"]))
    yield from ("", "## What the controller still has to do", "")
    yield from (f"- {comment['reference_to']}: {plain(comment['description'])}" for comment in content["comments"])


def _measures(content: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "### 3.1 Existing or planned measures", "")
    for measure in content["measures"]:
        yield f"- **{plain(measure['title'])}.** {plain(' '.join(_unmarked(measure['content'])))}"


def _gauge(value: int | None) -> str:
    return "" if value is None else f": {GAUGES[value]} ({value} of 4)"


def _unmarked(text: str) -> list[str]:
    return [html.unescape(_MARK.sub("", part)) for part in text.split("</p>") if part]
