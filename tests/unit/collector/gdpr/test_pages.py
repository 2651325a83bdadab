"""docs/gdpr explains every document of the file, and names what it takes and which elements of the law it has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from metavox_collector.dataset.checks.gdpr import ELEMENTS, FILES, OF_IMPACT
from metavox_collector.dataset.gdpr import questions
from tests.unit.collector.gdpr.cases import example_file

PAGES = Path(__file__).parents[4] / "docs" / "gdpr"
HEADINGS = ("Which law asks for it", "Where each fact comes from", "What the controller still does", "What is open")


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", [*ELEMENTS, "dpia", "dpv"])
def test_each_document_has_a_page_with_the_same_questions(name: str) -> None:
    assert tuple(re.findall("^## (.*)$", page(name), re.MULTILINE)) == HEADINGS
    assert f"]({name}.md)" in page("README")


def test_the_first_page_names_every_file() -> None:
    assert [name for name in FILES if f"`{name}`" not in page("README")] == []


@pytest.mark.parametrize("name", ["record", "notice", "processor-terms"])
def test_a_page_names_every_element_of_the_law(name: str) -> None:
    letters = [article for article in ELEMENTS[name] if re.fullmatch(r"\d+\(\d\)\(\w\)", article)]
    assert len(letters) >= 8
    covered = page(name) + ("30(2)(b) 30(2)(c)" if "30(2)(a) to 30(2)(d)" in page(name) else "")
    assert [article for article in letters if article not in covered] == []


def test_the_page_of_the_assessment_names_every_element_of_the_law() -> None:
    assert [element for element in OF_IMPACT if element not in page("dpia")] == []


@pytest.mark.parametrize("name", ELEMENTS)
def test_a_page_names_every_setting_that_its_document_takes(name: str) -> None:
    content = json.loads(example_file()[f"gdpr/{name}.json"])
    sources = {fact["source"] for section in content["sections"] for fact in section["facts"]}
    taken = {source.removeprefix("setting: ") for source in sources if source.startswith("setting: ")}
    assert [setting for setting in taken if f"`{setting}`" not in page(name)] == []


def test_the_page_lists_every_open_question() -> None:
    assert [one.title for one in questions.QUESTIONS if one.title not in flat(page("open-questions"))] == []
