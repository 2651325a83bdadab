"""The check of a GDPR file: what is whole passes, and whatever is taken out of it or changed is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from metavox_collector.dataset.checks.gdpr import ELEMENTS, FILES, OF_IMPACT, check
from metavox_collector.dataset.gdpr import cnil
from metavox_collector.dataset.gdpr.index import index_in_words, tasks
from metavox_collector.dataset.gdpr.statements import Document, Section, document_of
from metavox_collector.dataset.json_text import legible
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.gdpr.cases import example_file

Files = dict[str, bytes]
Change = Callable[[Any], None]


def read(files: Files, name: str) -> Any:
    return json.loads(files[f"gdpr/{name}"])


def forged(files: Files, name: str, change: Change) -> Files:
    """A document changed by somebody who knows all forms: its twin and the index are made to agree again."""
    content = read(files, f"{name}.json")
    change(content)
    files = {**files, f"gdpr/{name}.json": legible(content)}
    files[f"gdpr/{name}.md"] = cnil.in_words(content) if name == "dpia" else document_of(content).as_markdown()
    return with_index(files)


def with_index(files: Files) -> Files:
    """The same files with an index that agrees with them."""
    content = read(files, "index.json")
    inner = {name.removeprefix("gdpr/"): data for name, data in files.items()}
    content["files"] = {name: hashlib.sha256(inner[name]).hexdigest() for name in content["files"] if name in inner}
    documents = [document_of(json.loads(inner[f"{name}.json"])) for name in ELEMENTS]
    content["open"] = tasks(documents, json.loads(inner["dpia.json"]))
    return {**files, "gdpr/index.json": legible(content), "gdpr/README.md": index_in_words(content)}


def without(article: str) -> Change:
    def change(content: Any) -> None:
        content["sections"] = [one for one in content["sections"] if one["article"] != article]

    return change


def emptied(article: str) -> Change:
    def change(content: Any) -> None:
        (section,) = (one for one in content["sections"] if one["article"] == article)
        section["facts"] = []

    return change


def section_of(content: Any, article: str) -> Any:
    (section,) = (one for one in content["sections"] if one["article"] == article)
    return section


@pytest.mark.parametrize("weeks", [1, 4])
@pytest.mark.parametrize("synthetic", [False, True])
def test_a_file_that_was_made_passes(weeks: int, *, synthetic: bool) -> None:
    files = example_file(example_dataset(synthetic=synthetic, weeks=weeks, cells=2))
    assert check({**files, "README.md": b"not ours", "data/x.parquet": b""}) == []


def test_a_coarse_release_passes() -> None:
    assert check(example_file(example_dataset(scope="coarse", synthetic=False, cells=2))) == []


def test_a_release_for_the_maintainers_passes_and_is_offered_to_nobody_else() -> None:
    files = example_file(example_dataset(purpose="improve", synthetic=False, cells=2))
    assert check(files) == []
    assert "anybody anywhere" not in files["gdpr/transfers.md"].decode()


def test_a_forger_who_changes_nothing_is_not_found() -> None:
    """So that the others are found by what they change, and not by how the tests change it."""
    for name in (*ELEMENTS, "dpia"):
        assert check(forged(example_file(), name, lambda content: None)) == [], name


@pytest.mark.parametrize(("name", "article"), [(name, one) for name, all_ in ELEMENTS.items() for one in all_])
def test_each_element_that_is_taken_out_is_named(name: str, article: str) -> None:
    expected = f"gdpr/{name}.json: it says nothing of {article}"
    assert expected in check(forged(example_file(), name, without(article)))
    assert expected in check(forged(example_file(), name, emptied(article)))


@pytest.mark.parametrize(("element", "question"), [(one, q) for one, all_ in OF_IMPACT.items() for q in all_])
def test_each_answer_that_is_taken_out_of_the_assessment_is_named(element: str, question: int) -> None:
    def double(content: Any) -> None:
        answers = content["answers"]
        gone = next(i for i, one in enumerate(answers) if one["reference_to"] == question)
        same = next(one for one in answers if one["reference_to"] != question)
        answers[gone] = {**same, "id": answers[gone]["id"]}

    problems = check(forged(example_file(), "dpia", double))
    assert f"gdpr/dpia.json: {element} is not whole: nothing answers {question}" in problems


def test_the_elements_are_those_of_the_law() -> None:
    assert [one for one in ELEMENTS["record"] if one.startswith("30(1)")] == [f"30(1)({c})" for c in "abcdefg"]
    assert [one for one in ELEMENTS["processor-terms"] if one.startswith("28(3)(")] == [
        f"28(3)({c})" for c in "abcdefgh"
    ]
    assert [one for one in ELEMENTS["notice"] if one.startswith("13")] == [
        *(f"13(1)({c})" for c in "abcdef"),
        *(f"13(2)({c})" for c in "abcdef"),
    ]
    assert list(OF_IMPACT) == [f"35(7)({c})" for c in "abcd"]
    assert sorted({q for all_ in OF_IMPACT.values() for q in all_}) == sorted(cnil.QUESTIONS)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(name: str) -> None:
    files = example_file()
    del files[f"gdpr/{name}"]
    assert check(files) == [f"gdpr/{name}: it is missing"]


def test_a_file_that_does_not_belong_is_named() -> None:
    assert check({**example_file(), "gdpr/notes.txt": b""}) == ["gdpr/notes.txt: no such file belongs here"]


def test_a_pack_without_any_is_told_so() -> None:
    assert len(check({})) == len(FILES)


def measured(content: Any) -> None:
    section_of(content, "linkability")["rows"][0]["at_least"] = 0.5


def unmeasured(content: Any) -> None:
    section_of(content, "inference")["rows"] = []


def counted(content: Any) -> None:
    section_of(content, "destroyed")["rows"][0]["reports"] = 12345


def unsourced(content: Any) -> None:
    content["sections"][0]["facts"][0]["source"] = "hearsay: a friend"


def hollow(content: Any) -> None:
    content["sections"][0]["facts"][0]["statement"] = " "


def of_another_release(content: Any) -> None:
    content["release"]["SHA-256 of the release"] = "0" * 64


def misnamed(content: Any) -> None:
    content["name"] = "rights"


def speechless(content: Any) -> None:
    section_of(content, "words (it)")["verbatim"] = ""


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("anonymisation", measured, "asking about linkability is called within its limit, and is beyond it"),
        ("anonymisation", unmeasured, "nothing was measured for inference"),
        ("retention", counted, "a week has other facts than"),
        ("rights", unsourced, "is none"),
        ("rights", hollow, "a statement is empty"),
        ("rights", of_another_release, "it is of another release than record.json"),
        ("transfers", misnamed, "it calls itself rights"),
        ("notice", speechless, "the words in it are missing"),
    ],
)
def test_what_a_forger_makes_agree_is_still_found(name: str, change: Change, says: str) -> None:
    problems = check(forged(example_file(), name, change))
    assert any(problem.startswith(f"gdpr/{name}.json: ") and says in problem for problem in problems), problems


def unanswered(content: Any) -> None:
    del content["answers"][5]


def worded(content: Any) -> None:
    content["answers"][0]["data"]["text"] = ""


def gauged(content: Any) -> None:
    next(one for one in content["answers"] if one["reference_to"] == 335)["data"]["gauge"] = 5


def listed(content: Any) -> None:
    next(one for one in content["answers"] if one["reference_to"] == 341)["data"]["list"] = []


def strange(content: Any) -> None:
    next(one for one in content["answers"] if one["reference_to"] == 324)["data"]["list"].append("Hope")


def unmitigated(content: Any) -> None:
    content["measures"] = []


def approved(content: Any) -> None:
    content["pia"]["status"] = 2


def elsewhere(content: Any) -> None:
    content["pia"]["category"] = "of nothing"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unanswered, "$.answers"),
        (worded, "$.answers[0].data.text"),
        (gauged, "data.gauge"),
        (listed, "data.list"),
        (strange, "324 names a measure that is not described"),
        (unmitigated, "$.measures"),
        (approved, "$.pia.status"),
        (elsewhere, "it is of another release than record.json"),
    ],
)
def test_an_assessment_of_another_form_is_found(change: Change, says: str) -> None:
    files = example_file()
    content = read(files, "dpia.json")
    change(content)
    problems = check({**files, "gdpr/dpia.json": legible(content)})
    assert any(problem.startswith("gdpr/dpia.json: ") and says in problem for problem in problems), problems


def test_a_term_that_is_not_of_the_vocabulary_is_found() -> None:
    files = example_file()
    content = read(files, "dpv.jsonld")
    content["dpv:hasMagic"] = "dpv:Magic"
    problems = check(with_index({**files, "gdpr/dpv.jsonld": legible(content)}))
    assert problems == [
        "gdpr/dpv.jsonld: dpv:Magic is no term that is known here",
        "gdpr/dpv.jsonld: dpv:hasMagic is no term that is known here",
    ]


@pytest.mark.parametrize(
    "term", [f"dpv:has{part}" for part in ("DataController", "DataSubject", "Notice", "Right", "Risk")]
)
def test_a_description_without_a_part_is_found(term: str) -> None:
    files = example_file()
    content = read(files, "dpv.jsonld")
    del content[term]
    files = with_index({**files, "gdpr/dpv.jsonld": legible(content)})
    assert f"gdpr/dpv.jsonld: {term} is missing" in check(files)


def test_an_index_that_hides_what_is_left_to_do_is_found() -> None:
    files = example_file()
    content = read(files, "index.json")
    content["open"].pop()
    files |= {"gdpr/index.json": legible(content), "gdpr/README.md": index_in_words(content)}
    assert check(files) == ["gdpr/index.json: it does not list what the documents leave to the controller"]


@examples(max_examples=50, deadline=None)
@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), how=st.integers(1, 255))
def test_any_one_byte_that_is_changed_is_found_and_its_file_named(name: str, where: float, how: int) -> None:
    files = example_file()
    content = bytearray(files[f"gdpr/{name}"])
    content[int(where * len(content))] ^= how
    problems = check({**files, f"gdpr/{name}": bytes(content)})
    assert any(name in problem for problem in problems), problems


def test_a_document_survives_being_read() -> None:
    for name in ELEMENTS:
        data = example_file()[f"gdpr/{name}.json"]
        found = document_of(json.loads(data))
        assert found.as_json() == data
        assert isinstance(found, Document)
        assert all(isinstance(section, Section) for section in found.sections)
        assert replace(found, title="another").as_markdown() != found.as_markdown()
