"""The words before the question, in each language."""

from __future__ import annotations

import hashlib
import string
from dataclasses import replace

import pytest

from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import (
    LANGUAGES,
    QUESTIONS,
    WORDS,
    Language,
    language_of,
    lay_out,
    notice,
    notice_hash,
    notice_hashes,
)
from metavox_privacy.schema import SCHEMA

FIELDS = (*SCHEMA.dimensions, *SCHEMA.metrics)
each_language = pytest.mark.parametrize("language", LANGUAGES)


@each_language
def test_the_notice_and_both_questions_fit_a_terminal_of_24_rows_and_80_columns(language: Language):
    words = WORDS[language]
    lines = lay_out(notice(SCHEMA, language), 80).splitlines()
    prompts = [f"{question} {words.choices} y" for question in QUESTIONS[language].values()]
    hint = words.hint.format(example="this run here")  # the longest that is said there

    assert len(lines) + 1 + len(prompts) <= 24
    assert max(map(len, [*lines, *prompts, hint])) < 80


@each_language
@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_the_notice_wraps_to_any_width_without_losing_a_letter(language: Language, columns: int):
    text = lay_out(notice(SCHEMA, language), columns)

    assert all(len(line) < max(columns, 22) for line in text.splitlines())
    assert "".join(text.split()) == "".join(notice(SCHEMA, language).split())  # a name may be wider


@each_language
def test_every_field_of_the_schema_is_named(language: Language):
    text = notice(SCHEMA, language)

    for field in FIELDS:
        assert WORDS[language].field(field.name) in text


def test_italian_has_a_word_for_every_field_and_for_no_other():
    assert set(WORDS["it"].fields) == {field.name for field in FIELDS}
    assert len(set(WORDS["it"].fields.values())) == len(FIELDS)


def test_every_language_says_the_same_in_the_same_order():
    english = WORDS["en"]
    lists = [placeholders(paragraph) for paragraph in english.paragraphs.values()]
    for words in WORDS.values():
        assert [placeholders(paragraph) for paragraph in words.paragraphs.values()] == lists
        assert tuple(words.questions) == PURPOSES
        assert placeholders(words.hint) == ["example"]
        assert "y" in words.yes
        assert words.choices.endswith("/N]")


def placeholders(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


SAID = {
    "en": (
        *(
            "Whoever runs the collector",
            "is the controller",
            "METAVOX_COLLECTOR_URL",
            "None is built in",
            "SOLD",
            "published",
        ),
        *("off until you say yes", "nothing in the software depends on your answer"),
        *("hardware vendors", "cloud providers", "software companies", "researchers", "analysts"),
        *("Prompts", "answers", "file names or paths", "names of private models", "user or host names"),
        *("addresses", "ids of you or of this machine", "28 days", "at most 30 days", "metavox telemetry off"),
        *("--delete", "data protection authority", "access, erasure and portability"),
        *("consent (GDPR Art. 6(1)(a))",),
    ),
    "it": (
        *(
            "Chi gestisce il collettore",
            "il titolare del trattamento",
            "METAVOX_COLLECTOR_URL",
            "Nessuno è incluso",
        ),
        *("VENDUTI", "pubblicati"),
        *("Tutto è spento finché non dici di sì", "nulla nel software dipende dalla risposta"),
        *("produttori di hardware", "fornitori di cloud", "aziende di software", "ricercatori", "analisti"),
        *("Prompt", "risposte", "nomi o percorsi di file", "nomi di modelli privati", "di utenti o di host"),
        *("indirizzi", "identificativi tuoi o della macchina", "28 giorni", "al più 30 giorni"),
        *("metavox telemetry off", "--delete", "Garante", "Accesso, cancellazione, portabilità; reclamo"),
        *("Base giuridica: consenso (GDPR art. 6(1)(a))",),
    ),
}


@pytest.mark.parametrize(("language", "words"), [(name, word) for name in LANGUAGES for word in SAID[name]])
def test_the_notice_says_what_the_law_asks_for(language: Language, words: str):
    assert words in notice(SCHEMA, language)


def test_the_two_purposes_are_asked_apart_and_the_second_says_that_it_is_a_sale():
    assert all(tuple(questions) == PURPOSES for questions in QUESTIONS.values())
    assert "sold" in QUESTIONS["en"]["publish"]
    assert "venduti" in QUESTIONS["it"]["publish"]


@each_language
def test_the_hash_is_of_the_exact_words_and_the_whole_list(language: Language):
    words = "\n".join((notice(SCHEMA, language), *QUESTIONS[language].values(), SCHEMA.fingerprint))

    assert notice_hash(SCHEMA, language) == hashlib.sha256(words.encode()).hexdigest()
    assert notice_hashes(SCHEMA)[language] == notice_hash(SCHEMA, language)


def test_each_language_has_a_hash_of_its_own():
    assert len(set(notice_hashes(SCHEMA).values())) == len(LANGUAGES)


@each_language
@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": SCHEMA.dimensions[1:]},
        {"version": SCHEMA.version + 1},
        {"cells_per_report": 5},
        {"units": 512},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_changes_with_the_list_even_where_the_words_do_not(language: Language, change: dict[str, object]):
    changed = replace(SCHEMA, **change)  # type: ignore[arg-type]

    assert notice_hash(changed, language) != notice_hash(SCHEMA, language)


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "it_IT.UTF-8"}, "it"),
        ({"LANG": "it"}, "it"),
        ({"LANG": "it_CH@euro"}, "it"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "iterated"}, "en"),
        ({"LANG": "it_IT.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "it_IT.UTF-8", "LC_ALL": ""}, "it"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "it_IT.UTF-8"}, "it"),
        ({"LANG": "it_IT.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LC_MESSAGES": "it_IT.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "it"}, "it"),
        ({"LANG": "it_IT.UTF-8", "LANGUAGE": "en:it"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "fr:it_IT:en"}, "it"),
        ({"LANG": "it_IT.UTF-8", "LANGUAGE": "fr:de"}, "it"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "it"}, "en"),
        ({"LANG": "POSIX", "LANGUAGE": "it"}, "en"),
        ({"LANGUAGE": "it"}, "en"),
        ({"LANG": "\udcff\udcfe"}, "en"),
    ],
    ids=str,
)
def test_the_language_is_the_locales_as_gettext_finds_it(environment: dict[str, str], language: Language):
    assert language_of(environment, "utf-8") == language


@pytest.mark.parametrize(
    ("encoding", "language"),
    [
        *(("utf-8", "it"), ("latin-1", "it"), ("cp1252", "it"), ("cp850", "it"), ("cp437", "it")),
        *(("ascii", "en"), ("koi8-r", "en"), ("cp932", "en"), ("no such encoding", "en"), (None, "en"), ("", "en")),
    ],
)
def test_a_stream_without_the_letters_is_asked_in_english(encoding: str | None, language: Language):
    assert language_of({"LANG": "it_IT"}, encoding) == language


def test_english_needs_no_letter_that_any_terminal_could_lack():
    assert notice(SCHEMA, "en").isascii()
    assert "".join((*QUESTIONS["en"].values(), WORDS["en"].hint, WORDS["en"].choices)).isascii()


def test_the_week_is_kept_until_the_first_counted_run_that_can_delete_it():
    assert "for 28 days and to the next counted run, or to your no" in notice(SCHEMA)
    assert "28 giorni e fino alla prossima esecuzione contata, o al tuo no" in notice(SCHEMA, "it")
