"""The words before the question."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from metavox_privacy.notice import QUESTIONS, lay_out, notice, notice_hash
from metavox_privacy.schema import SCHEMA


def test_the_notice_and_both_questions_fit_a_terminal_of_24_rows_and_80_columns():
    lines = lay_out(notice(SCHEMA), 80).splitlines()
    prompts = [f"{question} [y/N] y" for question in QUESTIONS["en"].values()]

    assert len(lines) + 1 + len(prompts) <= 24  # one line says what Enter and p do
    assert max(map(len, lines + prompts)) < 80


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_the_notice_wraps_to_any_width_without_losing_a_letter(columns: int):
    text = lay_out(notice(SCHEMA), columns)

    assert all(len(line) < max(columns, 21) for line in text.splitlines())
    assert "".join(text.split()) == "".join(notice(SCHEMA).split())  # a name may be wider than the terminal


def test_every_field_of_the_schema_is_named():
    text = notice(SCHEMA)

    for field in (*SCHEMA.dimensions, *SCHEMA.metrics):
        assert field.name.replace("_", " ") in text


@pytest.mark.parametrize(
    "words",
    [
        *(
            "Whoever runs the collector",
            "METAVOX_COLLECTOR_URL",
            "None is built in",
            "SOLD",
            "published",
            "off until you say yes",
            "nothing in the software depends",
        ),
        *("hardware vendors", "cloud providers", "software companies", "researchers", "analysts"),
        *(
            "Prompts",
            "answers",
            "file names or paths",
            "names of private models",
            "user or host names",
            "addresses",
        ),
        *("28 days", "at most 30 days", "metavox telemetry off", "data protection authority", "access and erasure"),
    ],
)
def test_the_notice_says_what_the_law_asks_for(words: str):
    assert words in notice(SCHEMA)


def test_the_two_purposes_are_asked_apart():
    assert list(QUESTIONS["en"]) == ["improve", "publish"]
    assert "sold" in QUESTIONS["en"]["publish"]


def test_the_hash_is_of_the_exact_words_and_the_whole_list():
    words = "\n".join((notice(SCHEMA), *QUESTIONS["en"].values(), SCHEMA.fingerprint))

    assert notice_hash(SCHEMA) == hashlib.sha256(words.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [{"dimensions": SCHEMA.dimensions[1:]}, {"version": 2}, {"cells_per_report": 5}, {"units": 512}],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_changes_with_the_list_even_where_the_words_do_not(change: dict[str, object]):
    assert notice_hash(replace(SCHEMA, **change)) != notice_hash(SCHEMA)  # type: ignore[arg-type]


def test_the_week_is_kept_until_the_first_counted_run_that_can_delete_it():
    assert "for 28 days and to the next counted run, or to your no" in notice(SCHEMA)
