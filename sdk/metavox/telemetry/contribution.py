"""The contribution: Span -> gate -> anonymize -> tally -> journal, off until somebody said yes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from metavox.telemetry.home import switch
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.forks import loading
from metavox.telemetry.journal.tally import Tally
from metavox.telemetry.upload.automatic import AutomaticUpload
from metavox.telemetry.writer import Writer
from metavox_privacy.anonymize import Record, anonymize
from metavox_privacy.consent import COLLECTOR_VARIABLE, Consent, off
from metavox_privacy.gate import gate
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.span import Span

if TYPE_CHECKING:
    from metavox.telemetry.journal.journal import Journal

_log = logging.getLogger(__name__)
_LOOKS_AGAIN = 1.0  # seconds
_PATIENCE_AT_THE_END = 0.2  # seconds; other processes' transactions take milliseconds
_UNDECIDED = off("it was not decided yet")


@dataclass(frozen=True, slots=True)
class _Counting:
    """What waits, and the consent that it was counted under: one value, so that nothing comes between the two."""

    consent: Consent
    tally: Tally = field(default_factory=Tally)


class Contribution:
    """The private pipeline of one process. Its methods never raise, and while consent is off do nothing.

    A request becomes counts in memory before ``on_span`` returns; of the request itself nothing stays. A thread
    writes the counts to the journal within ten seconds, and when the program ends. The decision is asked for anew
    each second in which there is something to count, and before each write, so that ``metavox telemetry off`` in
    another terminal holds for a program that is already running. A forked child counts its own requests only.

    Args:
        decide: The consent in force now.
        open_journal: The journal of a granted consent; not called before there is something to write.
        schema: The list of what may leave.
        upload: Sends what is due; None for a pipeline that sends nothing by itself.
    """

    def __init__(
        self,
        decide: Callable[[], Consent],
        open_journal: Callable[[Consent], Journal],
        schema: Schema = SCHEMA,
        *,
        upload: AutomaticUpload | None = None,
    ) -> None:
        self._decide = decide
        self._open_journal = open_journal
        self._schema = schema
        self._upload = upload
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        """Empty, unlocked and undecided: what waits in a forking parent is the parent's to count."""
        self._lock = threading.RLock()  # a finalizer may end a request in the middle of another one's counting
        self._writer = Writer(self.flush, self._prepare)
        self._counting = _Counting(_UNDECIDED)
        self._granted = False
        self._looks_again_at = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], home: Home | None = None) -> Contribution:
        """The pipeline of this user on this machine; reads nothing yet.

        Args:
            environment: The process's environment, looked at again for each decision.
            home: Other folders than the environment's.
        """

        def decide() -> Consent:
            now = dict(environment)  # looking often into ``os.environ`` takes long
            return (home or Home.from_environment(now)).consent(now)

        def open_journal(consent: Consent) -> Journal:
            _load_journal()
            from metavox.telemetry.journal.journal import Journal

            path = (home or Home.from_environment(environment)).journal_file
            return Journal(path, consent, SCHEMA, datetime.now(timezone.utc))

        upload = AutomaticUpload(lambda: environment.get(COLLECTOR_VARIABLE), decide, open_journal)
        return cls(decide, open_journal, upload=upload)

    def wants(self) -> bool:
        """Whether it takes requests now; as of a second ago at most. Asking costs nothing worth mentioning."""
        if sys.is_finalizing():  # a thread that is started now never runs, and some Pythons wait for it for ever
            return False
        if time.monotonic() >= self._looks_again_at:
            self._look()
        return self._granted and not switch.is_forced_off()

    def begin(self) -> None:
        """An engine is being loaded: send meanwhile what is due."""
        if self._upload is not None and self.wants():
            self._upload.start()

    def on_span(self, span: Span) -> None:
        """Take one finished request."""
        self.on_spans((span,))

    def on_spans(self, spans: Iterable[Span]) -> None:
        """Take finished requests; they are counts in memory on return."""
        try:
            if self.wants():
                self._keep(self._counting.consent, spans)
        except Exception as error:  # contributing must never be the reason why somebody's program fails
            _tell(error)

    def flush(self) -> None:
        """Write what waits, if that is still agreed to; on the disk on return, or dropped."""
        try:
            with self._lock:
                waiting = self._counting
                self._counting = _Counting(waiting.consent)
            if waiting.tally:
                self._write(waiting)
        except Exception as error:  # a full disk, a damaged file, a busy one: the counts are lost, nothing else
            _tell(error)

    def _prepare(self) -> None:
        with contextlib.suppress(Exception):  # what cannot be loaded cannot be written either, later
            _load_journal()

    def _look(self) -> None:
        consent = _UNDECIDED
        try:
            with loading:  # what is imported or worked out once has locks of its own
                consent = self._decide()
                if consent.granted:
                    anonymize(Span("", 0, time.time_ns(), {"gen_ai.request.model": ""}), self._schema)
        except Exception as error:  # what cannot be decided is off
            _tell(error)
        with self._lock:
            if not consent.is_same(self._counting.consent):
                self._counting = _Counting(consent)  # what was counted under another consent is dropped
                self._granted = consent.granted
        self._looks_again_at = time.monotonic() + _LOOKS_AGAIN

    def _keep(self, consent: Consent, spans: Iterable[Span]) -> None:
        found = records(spans, consent, self._schema)
        with self._lock:
            counting = self._counting
            if not found or consent is not counting.consent:
                return
            for record in found:
                counting.tally.add(record)
        self._writer.wake()

    def _write(self, waiting: _Counting) -> None:
        consent, tally = self._decide(), waiting.tally
        if not consent.granted or not consent.is_same(waiting.consent):
            return
        journal = self._open_journal(consent)
        if threading.main_thread().is_alive():
            journal.add(tally)
            if self._upload is not None:
                self._upload.start()
        else:
            journal.add(tally, patience=_PATIENCE_AT_THE_END)


def records(spans: Iterable[Span], consent: Consent, schema: Schema) -> Sequence[Record]:
    """What may be kept of some spans."""
    passed = (gate(span, consent) for span in spans)
    return [record for span in passed if span is not None and (record := anonymize(span, schema)) is not None]


def _tell(error: Exception) -> None:
    """The kind of an error alone: its words could hold anything."""
    _log.debug("a contribution was dropped: %s", type(error).__name__)


def _load_journal() -> None:
    """Late, so that who says no loads no SQLite; raises nothing that an import does not."""
    with loading:  # this may be a thread, and a child forked from the middle of an import waits for its end
        import metavox.telemetry.journal.journal  # noqa: F401  # loading it is all that is wanted


_living: weakref.WeakSet[Contribution] = weakref.WeakSet()


def _begin_again() -> None:
    for contribution in list(_living):
        contribution._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
