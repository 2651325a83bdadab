"""The words that are shown before anybody is asked, in each language."""

from metavox_privacy.notice.text import (
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
from metavox_privacy.notice.words import Words

__all__ = [
    "LANGUAGES",
    "QUESTIONS",
    "WORDS",
    "Language",
    "Words",
    "language_of",
    "lay_out",
    "notice",
    "notice_hash",
    "notice_hashes",
]
