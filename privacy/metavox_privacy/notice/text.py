"""The notice of each language, made from its words and the schema, and the hash by which it is known."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from metavox_privacy.fields import Purpose
from metavox_privacy.notice.english import ENGLISH
from metavox_privacy.notice.italian import ITALIAN
from metavox_privacy.notice.words import Words
from metavox_privacy.schema import Schema

Language: TypeAlias = Literal["en", "it"]

WORDS: Final[Mapping[Language, Words]] = {"en": ENGLISH, "it": ITALIAN}
LANGUAGES: Final[tuple[Language, ...]] = tuple(WORDS)
QUESTIONS: Final[Mapping[Language, Mapping[Purpose, str]]] = {
    name: words.questions for name, words in WORDS.items()
}

_MARGIN = 9
_NO_LANGUAGE = ("C", "POSIX")


def notice(schema: Schema, language: Language = "en") -> str:
    """The exact text, one paragraph a line, each with its heading before a tab."""
    words = WORDS[language]
    lists = {
        "dimensions": ", ".join(words.field(dimension.name) for dimension in schema.dimensions),
        "metrics": ", ".join(words.field(metric.name) for metric in schema.metrics),
    }
    return "\n".join(f"{heading}\t{paragraph.format_map(lists)}" for heading, paragraph in words.paragraphs.items())


def notice_hash(schema: Schema, language: Language = "en") -> str:
    """Hex SHA-256 of the exact text, the questions and the whole list; a consent says what it was given to."""
    words = "\n".join((notice(schema, language), *QUESTIONS[language].values(), schema.fingerprint))
    return hashlib.sha256(words.encode()).hexdigest()


def notice_hashes(schema: Schema) -> dict[Language, str]:
    """The hash of the words in each language; a yes is to those of one of them."""
    return {language: notice_hash(schema, language) for language in LANGUAGES}


def lay_out(text: str, columns: int = 80) -> str:
    """The notice wrapped for a terminal: headings in a margin where there is room for one."""
    lines = []
    for paragraph in text.splitlines():
        heading, _, words = paragraph.partition("\t")
        margin = " " * (_MARGIN if columns >= 60 else 2)
        first = f"{heading} ".ljust(len(margin))
        lines += textwrap.wrap(words, max(columns - 1, 20), initial_indent=first, subsequent_indent=margin)
    return "\n".join(lines)


def language_of(environment: Mapping[str, str], encoding: str | None) -> Language:
    """The language in which somebody is asked: their locale's, where there are words in it, else English.

    Args:
        environment: Its ``LC_ALL``, ``LC_MESSAGES`` and ``LANG`` name the locale, the first that is set;
            ``LANGUAGE`` lists languages by preference, and counts for nothing in the C locale: as in GNU gettext.
        encoding: The encoding of the stream; a language whose letters it lacks is not used.
    """
    locale = next(filter(None, (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "C")
    if _base(locale) in _NO_LANGUAGE:
        return "en"
    wished = [*filter(None, environment.get("LANGUAGE", "").split(":")), locale]
    known: Language = next(
        (language for name in wished for language in LANGUAGES if _base(name).lower() == language), "en"
    )
    return known if _can_show(WORDS[known], encoding) else "en"


def _base(locale: str) -> str:
    """``it`` of ``it_IT.UTF-8@euro``."""
    return locale.partition("@")[0].partition(".")[0].partition("_")[0].partition("-")[0]


def _can_show(words: Words, encoding: str | None) -> bool:
    letters = "".join((*words.paragraphs, *words.paragraphs.values(), *words.questions.values(), words.hint))
    letters += "".join(words.fields.values())
    try:
        letters.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
