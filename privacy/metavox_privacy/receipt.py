"""The receipt: what a person answered and to what, as a record that machines can read and the person can keep.

It is a consent receipt after ISO/IEC TS 27560:2023 in the terms of the W3C Data Privacy Vocabulary, by the profile
``dpv-27560#receipt-eu-gdpr``, in JSON-LD whose context is inline, so that reading it needs no network. It is the
consent file itself: a no, a "not now" and a withdrawal are records as a yes is. Its identifier is the SHA-256 of
its content, which tells a receipt that was edited or damaged from one that is whole; it names no person.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from metavox_privacy.consent import DEPLOYMENT_LASTS, Answer, Scope, Unreadable
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import LANGUAGES, notice_hash
from metavox_privacy.receipt_graph import DECLARATION, EXPRESSED, GRANTED, STATUS, receipt_graph
from metavox_privacy.schema import SCHEMA, Schema

LONGEST_RECEIPT: Final = 256 * 1024
"""Longer texts are not understood. The declaration makes it about 45,000 characters; catalogs may grow."""

_SCOPES: Final[tuple[Scope, ...]] = ("installation", "deployment")
_LINE: Final = 100
_ID: Final = ("@id", "dct:identifier", "dpv:hasIdentifier")


def format_receipt(answer: Answer, schema: Schema = SCHEMA) -> str:
    """The receipt's text, which is the consent file's.

    Raises:
        ValueError: the answer is to other words, or another list, than the schema's; or it cannot be read back.
    """
    if (answer.notice, answer.schema_version) != (notice_hash(schema, answer.language), schema.version):
        raise ValueError("an answer to other words than these cannot be recorded; ask again")
    content = receipt_graph(answer, schema)
    identifier = _identifier(content)
    context = content.pop("@context")
    text = _lines({"@context": context, **dict.fromkeys(_ID, identifier), **content}) + "\n"
    if parse_receipt(text) != answer:
        raise ValueError("an answer that cannot be read back cannot be recorded")
    return text


@lru_cache(maxsize=4)  # a program that runs on asks each second, and a millisecond is too long for that
def parse_receipt(text: str) -> Answer | None:
    """Read a receipt; None when any part of it is not understood, or it was changed since it was written."""
    document = _document(text)
    try:
        return None if document is None else _answer_of(document)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return None


def agreed_terms(text: str) -> dict[str, Any] | None:
    """What a receipt's answer was to, as :func:`~metavox_privacy.declaration.terms` gives it; None as above."""
    return None if parse_receipt(text) is None else json.loads(text)[DECLARATION]


def understand(text: str | Unreadable | None) -> Answer | Unreadable | None:
    """What a file that may be absent or unreadable says, as :class:`~metavox_privacy.consent.Evidence` wants it."""
    if text is None or isinstance(text, Unreadable):
        return text
    return parse_receipt(text) or Unreadable.FILE


def _document(text: str) -> dict[str, Any] | None:
    if len(text) > LONGEST_RECEIPT:
        return None
    try:
        document = json.loads(text, object_pairs_hook=_object)
        names = {document.pop(name) for name in _ID}
        return document if names == {_identifier(document)} else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name that stands twice")
    return found


def _identifier(content: Mapping[str, Any]) -> str:
    """The name of the content, after RFC 6920."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).digest()
    return f"ni:///sha-256;{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _answer_of(document: dict[str, Any]) -> Answer:
    records = document["dpv:hasRecordOfActivity"]
    statuses = dict(zip(map(_purpose, records), map(_status, records), strict=True))
    if tuple(statuses) != PURPOSES or len(records) != len(statuses):
        raise ValueError("not one record for each purpose")
    if not isinstance(document[DECLARATION], dict):
        raise ValueError("an answer to nothing")
    language, scope = document["dpv:hasNotice"]["dct:language"], document["metavox:scope"]
    version, collector = document["metavox:schemaVersion"], document["metavox:collector"]
    if language not in LANGUAGES or scope not in _SCOPES or type(version) is not int:
        raise ValueError("an unknown word")
    given = Answer(
        purposes=frozenset(purpose for purpose, status in statuses.items() if status == GRANTED),
        answered_at=_moment(document["dct:created"]),
        notice=_text(document["dpv:hasNotice"]["metavox:sha256"]),
        schema_version=version,
        language=language,
        scope=scope,
        ask_again_after=_moment_or_none(document["metavox:askAgainAfter"]),
        expires_at=_moment_or_none(document["metavox:expiresAt"]),
        collector=None if collector is None else _text(collector),
        withdrawn=frozenset(purpose for purpose, status in statuses.items() if status == STATUS["withdrawn"]),
    )
    _check_expiry(given)
    return given


def _check_expiry(given: Answer) -> None:
    """A deployment's receipt ends, and does so within its time; nobody can mint one for good."""
    if given.scope == "deployment" and (
        given.expires_at is None or given.expires_at - given.answered_at > DEPLOYMENT_LASTS
    ):
        raise ValueError("a deployment's receipt must expire")


def _purpose(record: Mapping[str, Any]) -> Purpose:
    named = record["dpv:hasProcess"]["dpv:hasPurpose"]["dct:identifier"]
    for purpose in PURPOSES:
        if purpose == named:
            return purpose
    raise ValueError("an unknown purpose")


def _status(record: Mapping[str, Any]) -> str:
    types = record["dpv:hasConsentStatus"]["@type"]
    if not isinstance(types, list):
        raise TypeError("no list")
    (status,) = (one for one in types if one != EXPRESSED)
    if status not in STATUS.values():
        raise ValueError("an unknown status")
    return _text(status)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("no text")
    return value


def _moment_or_none(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _lines(value: Any, margin: str = "") -> str:
    """JSON for a person: on one line what fits one, and lists of plain values; in ASCII, which every pipe takes."""
    line, deeper = json.dumps(value), margin + "  "
    if len(margin + line) <= _LINE or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        items = (f"{deeper}{json.dumps(key)}: {_lines(item, deeper)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if all(isinstance(item, str | int | float) for item in value):
        return line
    return "[\n" + ",\n".join(deeper + _lines(item, deeper) for item in value) + f"\n{margin}]"
