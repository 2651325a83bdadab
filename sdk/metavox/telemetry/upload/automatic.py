"""The upload that nobody asks for: once in a while, in a thread that nobody waits for, and in silence."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from metavox.telemetry.journal.forks import loading_upload
from metavox_privacy.consent import Consent
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.journal.journal import Journal

_BETWEEN_LOOKS = 3600.0  # seconds; reports are due on the hour


class AutomaticUpload:
    """Sends what is due to the collector that the environment names. Never raises, prints or logs.

    Its thread is a daemon, so that no program's end waits for a network. A report whose sending the end cuts off
    is sent again another day, byte for byte.

    Args:
        collector: The collector's address as the environment has it now; None where it names none.
        decide: The consent in force now.
        open_journal: The journal of a granted consent.
    """

    def __init__(
        self,
        collector: Callable[[], str | None],
        decide: Callable[[], Consent],
        open_journal: Callable[[Consent], Journal],
    ) -> None:
        self._collector = collector
        self._decide = decide
        self._open_journal = open_journal
        self._looks_again_at = 0.0

    def start(self) -> None:
        """Look, in a thread, whether something is to be sent; at most once an hour."""
        if time.monotonic() < self._looks_again_at or not self._collector():
            return
        self._looks_again_at = time.monotonic() + _BETWEEN_LOOKS
        with contextlib.suppress(RuntimeError):  # there can be no more threads, or the program ends
            threading.Thread(target=self._run, name="metavox-upload", daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # a thread would print it
            self._send()

    def _send(self) -> None:
        consent, url = self._decide(), self._collector()
        if not (consent.granted and url):
            return
        journal = self._open_journal(consent)
        if journal.is_due(datetime.now(timezone.utc), url.strip()):  # once a week; the rest loads TLS and protobuf
            with loading_upload:
                import encodings.idna  # noqa: F401  # which looking up a name would import

                from metavox.telemetry.upload.weekly import upload

            now = datetime.now(timezone.utc)  # loading may have taken seconds
            upload(journal, consent, SCHEMA, now, url, decide=self._decide)
