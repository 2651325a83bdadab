"""The contribution: Span -> gate -> anonymize -> journal, off until somebody said yes."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone

from metavox.telemetry.home import Home
from metavox.telemetry.journal import Journal
from metavox_privacy.anonymize import Record, anonymize
from metavox_privacy.consent import Consent
from metavox_privacy.gate import gate
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)


class Contribution:
    """The private pipeline of one process. Its methods never raise, and while consent is off do nothing.

    The decision is asked for anew with each batch, so that ``metavox telemetry off`` in another terminal
    holds for a program that is already running.

    Args:
        decide: The consent in force now.
        open_journal: The journal of a granted consent; not called before there is something to count.
        schema: The list of what may leave.
    """

    def __init__(
        self, decide: Callable[[], Consent], open_journal: Callable[[Consent], Journal], schema: Schema = SCHEMA
    ) -> None:
        self._decide = decide
        self._open_journal = open_journal
        self._schema = schema

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], home: Home | None = None) -> Contribution:
        """The pipeline of this user on this machine; reads nothing yet.

        Args:
            environment: The process's environment, looked at again for each decision.
            home: Other folders than the environment's.
        """

        def decide() -> Consent:
            return (home or Home.from_environment(environment)).consent(environment)

        def open_journal(consent: Consent) -> Journal:
            path = (home or Home.from_environment(environment)).journal_file
            return Journal(path, consent, SCHEMA, datetime.now(timezone.utc))

        return cls(decide, open_journal)

    def on_span(self, span: Span) -> None:
        """Take one finished request."""
        self.on_spans((span,))

    def on_spans(self, spans: Iterable[Span]) -> None:
        """Take the finished requests of one batch; what is kept of them is on the disk on return."""
        try:
            consent = self._decide()
            if consent.granted:
                self._keep(records(spans, consent, self._schema), consent)
        except Exception:  # contributing must never be the reason why somebody's program fails
            _log.debug("a contribution was dropped", exc_info=True)

    def _keep(self, found: Sequence[Record], consent: Consent) -> None:
        if not found:
            return
        try:
            self._open_journal(consent).add(found)
        except (sqlite3.Error, OSError):
            _log.debug("the journal could not be written", exc_info=True)


def records(spans: Iterable[Span], consent: Consent, schema: Schema) -> list[Record]:
    """What may be kept of some spans."""
    passed = (gate(span, consent) for span in spans)
    return [record for span in passed if span is not None and (record := anonymize(span, schema)) is not None]
