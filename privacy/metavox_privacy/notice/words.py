"""The words that are shown before anybody is asked, made from the schema, and the hash by which they are known."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from metavox_privacy.fields import Purpose
from metavox_privacy.schema import Schema

Language: TypeAlias = Literal["en", "it"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

QUESTIONS: dict[Language, dict[Purpose, str]] = {
    "en": {
        "improve": "Send weekly statistics to help improve MetaVox?",
        "publish": "Include your weekly statistics in datasets that are published and sold?",
    },
}
"""In each language one question for each purpose; each is answered by itself, and no answer is a no."""

_MARGIN = 9


def notice(schema: Schema, language: Language = "en") -> str:
    """The exact text, one paragraph a line, each with its heading before a tab."""
    dimensions = ", ".join(dimension.name.replace("_", " ") for dimension in schema.dimensions)
    metrics = ", ".join(metric.name.replace("_", " ") for metric in schema.metrics)
    paragraphs = {
        "MetaVox": "can contribute statistics on how fast models run here. That is off until you say yes, and "
        "nothing in the software depends on your answer.",
        "Who": "Whoever runs the collector that you name in METAVOX_COLLECTOR_URL decides what is done with "
        "them. None is built in.",
        "What": f"Once a week, counts of your runs by {dimensions}; in each group the spread of {metrics}. Names "
        "are of public lists, numbers are ranges, time is the week.",
        "Never": "Prompts, answers, file names or paths, names of private models, user or host names, addresses, "
        "ids of you or of this machine.",
        "Why": "improve: statistics for the maintainers. publish: anonymous datasets, with noise, that are "
        "published and SOLD to hardware vendors, cloud providers, software companies, researchers and analysts.",
        "Kept": "Here for 28 days and to the next counted run, or to your no. At the collector until the week is "
        "closed, at most 30 days; then noisy sums.",
        "Rights": "Your consent is the legal basis (GDPR Art. 6(1)(a)). Withdraw whenever you like: metavox "
        "telemetry off. You may ask for access and erasure, and complain to a data protection authority.",
    }
    return "\n".join(f"{heading}\t{text}" for heading, text in paragraphs.items())


def notice_hash(schema: Schema, language: Language = "en") -> str:
    """Hex SHA-256 of the exact text, the questions and the whole list; a consent says what it was given to."""
    words = "\n".join((notice(schema, language), *QUESTIONS[language].values(), schema.fingerprint))
    return hashlib.sha256(words.encode()).hexdigest()


def notice_hashes(schema: Schema) -> Mapping[Language, str]:
    """The hash of the words in each language."""
    return {language: notice_hash(schema, language) for language in QUESTIONS}


def lay_out(text: str, columns: int = 80) -> str:
    """The notice wrapped for a terminal: headings in a margin where there is room for one."""
    lines = []
    for paragraph in text.splitlines():
        heading, _, words = paragraph.partition("\t")
        margin = " " * (_MARGIN if columns >= 60 else 2)
        first = f"{heading} ".ljust(len(margin))
        lines += textwrap.wrap(words, max(columns - 1, 20), initial_indent=first, subsequent_indent=margin)
    return "\n".join(lines)
