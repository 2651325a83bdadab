"""An answer: the question as it is put, what stood before it, and what is written down and deleted after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from metavox.errors import MetaVoxError
from metavox.telemetry.home.folders import Home
from metavox.telemetry.question.ask import answer
from metavox.telemetry.question.wording import WORDING, outcome
from metavox_privacy.consent import Answer, Unreadable
from metavox_privacy.fields import Purpose
from metavox_privacy.notice import Language, language_of
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA


@dataclass(frozen=True, slots=True)
class Question:
    """The question as it is put to somebody, at one moment.

    Attributes:
        home: Where the answer goes.
        environment: The process's environment.
        seen: The consent file's text at this moment; the answer replaces this one and no other.
        language: The language of the words.
    """

    home: Home
    environment: Mapping[str, str]
    seen: str | Unreadable | None
    language: Language

    @classmethod
    def put(cls, environment: Mapping[str, str], home: Home, encoding: str | None) -> Question:
        """The question of now, in the language of the locale if ``encoding`` has its letters.

        Raises:
            MetaVoxError: this is the superuser in somebody else's home, whom nobody can answer for.
        """
        if home.is_foreign():
            raise MetaVoxError(
                f"{home.config} belongs to somebody else, and the superuser cannot answer for them: "
                "run the same as that user, without sudo"
            )
        return cls(home, environment, home.answer(), language_of(environment, encoding))

    @property
    def earlier(self) -> Answer | None:
        """The answer that stands, None when there is none, or none that is understood."""
        return parse_receipt(self.seen) if isinstance(self.seen, str) else None

    @property
    def was_yes(self) -> bool:
        """Whether the answer that stands is a yes, to these words or to others."""
        return self.earlier is not None and bool(self.earlier.purposes)

    def answered(self, purposes: frozenset[Purpose], *, later: bool = False) -> Answer:
        """The answer, given now; ``later`` makes it a "not now"."""
        named = collector_named(self.environment)
        now = datetime.now(timezone.utc)
        return answer(purposes, SCHEMA, now, language=self.language, collector=named, later=later)

    def record(self, given: Answer) -> None:
        """Write the answer down, unless another one was given meanwhile; then delete what it ends.

        Raises:
            AnsweredMeanwhile: somebody answered since the question was put; that answer stands.
            sqlite3.Error, OSError: the disk does not let it.
        """
        self.home.record(given, replacing=self.seen)
        if given.purposes:
            self.home.damaged_file.unlink(missing_ok=True)  # a new yes begins a new journal
        else:
            from metavox.telemetry.journal.journal import withdraw

            withdraw(self.home)

    def finish(self, purposes: frozenset[Purpose] | None) -> str:
        """Record what was clicked, and say what it means; None, a "not now", leaves an earlier answer as it is."""
        words = WORDING[self.language]
        if purposes is None and self.seen is not None:
            is_on = self.home.consent(self.environment).granted
            return words.unchanged.format(state=words.is_on if is_on else words.is_off)
        given = self.answered(purposes or frozenset(), later=purposes is None)
        self.record(given)
        return outcome(given)


def collector_named(environment: Mapping[str, str]) -> str | None:
    """The collector's address, None when none is named or it is no address; a password in it is one."""
    from metavox.telemetry.upload.transport import Address

    url = environment.get("METAVOX_COLLECTOR_URL", "").strip()
    try:
        Address.parse(url)
    except ValueError:
        return None
    return url
