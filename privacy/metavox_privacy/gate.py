"""Span -> Span or None: nothing passes that nobody has agreed to."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache

from metavox_privacy.consent import Consent
from metavox_privacy.span import Span

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def gate(span: Span, consent: Consent) -> Span | None:
    """Let a span pass when contributions are on and it began after the yes; otherwise drop it."""
    if not consent.granted or consent.since is None:
        return None
    return span if span.start_time >= _nanoseconds(consent.since) else None


@lru_cache(maxsize=4)
def _nanoseconds(moment: datetime) -> int:
    """Unix time; kept, since it is one moment for all of a program's requests."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
