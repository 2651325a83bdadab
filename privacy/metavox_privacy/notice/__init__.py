"""The words that are shown before anybody is asked."""

from metavox_privacy.notice.words import (
    LANGUAGES,
    QUESTIONS,
    Language,
    lay_out,
    notice,
    notice_hash,
    notice_hashes,
)

__all__ = ["LANGUAGES", "QUESTIONS", "Language", "lay_out", "notice", "notice_hash", "notice_hashes"]
