"""The receipt: what a person answered, as the consent file's text."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from metavox_privacy.consent import Answer, Unreadable
from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import LANGUAGES, notice_hash
from metavox_privacy.schema import SCHEMA, Schema


def format_receipt(answer: Answer, schema: Schema = SCHEMA) -> str:
    """The consent file's text.

    Raises:
        ValueError: the answer is to other words, or another list, than the schema's.
    """
    if (answer.notice, answer.schema_version) != (notice_hash(schema, answer.language), schema.version):
        raise ValueError("an answer to other words than these cannot be recorded; ask again")
    document = {
        "version": 2,
        "purposes": sorted(answer.purposes),
        "answered_at": answer.answered_at.isoformat(),
        "notice_sha256": answer.notice,
        "schema_version": answer.schema_version,
        "language": answer.language,
        "scope": answer.scope,
        "ask_again_after": answer.ask_again_after.isoformat() if answer.ask_again_after else None,
        "expires_at": answer.expires_at.isoformat() if answer.expires_at else None,
        "collector": answer.collector,
    }
    return json.dumps(document, indent=2) + "\n"


def parse_receipt(text: str) -> Answer | None:
    """Read a receipt; None when any part of it is not understood."""
    try:
        return _answer_of(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def understand(text: str | Unreadable | None) -> Answer | Unreadable | None:
    """What a file that may be absent or unreadable says, as :class:`~metavox_privacy.consent.Evidence` wants it."""
    if text is None or isinstance(text, Unreadable):
        return text
    return parse_receipt(text) or Unreadable.FILE


def _answer_of(document: dict[str, Any]) -> Answer:
    purposes = frozenset(purpose for purpose in PURPOSES if purpose in document["purposes"])
    if not isinstance(document["purposes"], list) or len(purposes) != len(document["purposes"]):
        raise ValueError("an unknown purpose")
    if [type(document[name]) for name in ("version", "schema_version")] != [int, int] or document["version"] != 2:
        raise ValueError("an unknown version")
    if document["language"] not in LANGUAGES or document["scope"] not in ("installation", "deployment"):
        raise ValueError("an unknown word")
    again, expires = document["ask_again_after"], document["expires_at"]
    return Answer(
        purposes=purposes,
        answered_at=_moment(document["answered_at"]),
        notice=str(document["notice_sha256"]),
        schema_version=document["schema_version"],
        language=document["language"],
        scope=document["scope"],
        ask_again_after=None if again is None else _moment(again),
        expires_at=None if expires is None else _moment(expires),
        collector=document["collector"],
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
