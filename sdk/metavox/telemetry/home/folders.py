"""Where the few files are: the answer, the journal, and the system's policy."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import EllipsisType

from metavox.errors import MetaVoxError
from metavox.telemetry.home import switch
from metavox.telemetry.home.private_files import (
    NOWHERE,
    UNFINISHED,
    is_another_users,
    is_somebody_elses,
    is_superuser,
    locked,
    make_private_folder,
    write_whole,
)
from metavox_privacy.consent import RECEIPT_VARIABLE, Answer, Consent, Evidence, Unreadable, decide
from metavox_privacy.receipt import LONGEST_RECEIPT, format_receipt, parse_receipt, understand

_POLICY = Path("/etc/metavox/policy.json")
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO would wait for a writer
_MEANWHILE = "Somebody has answered meanwhile, and that answer stands."


class AnsweredMeanwhile(MetaVoxError):
    """Somebody else answered, in another process, between the question and this answer to it."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folders that telemetry may use; making one touches no disk.

    Attributes:
        config: The folder of the consent file.
        state: The folder of the journal.
        policy: The system's policy file, which can only force contributions off.
    """

    config: Path
    state: Path
    policy: Path = _POLICY

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Home:
        """The platform's own folders, or the one that ``METAVOX_HOME`` names; the policy file never moves.

        Somebody without a home folder, as many containers' users are, has no place for an answer: off. So has
        who names a relative one.
        """
        chosen = environment.get("METAVOX_HOME")
        if chosen:
            folder = Path(chosen)
            if not folder.is_absolute():  # another one in each current folder: one person would be several
                folder = NOWHERE
            return cls(folder, folder)
        from platformdirs import user_config_path, user_state_path

        try:
            config, state = user_config_path("metavox"), user_state_path("metavox")
        except RuntimeError:
            return cls(NOWHERE, NOWHERE)
        if not (config.is_absolute() and state.is_absolute()):  # older platformdirs: "~", below the current folder
            return cls(NOWHERE, NOWHERE)
        return cls(config, state)

    @property
    def is_nowhere(self) -> bool:
        """Whether there is no folder in which anything could be kept."""
        return NOWHERE in (self.config, self.state)

    @property
    def consent_file(self) -> Path:
        """Where the answer is kept."""
        return self.config / "consent.json"

    @property
    def journal_file(self) -> Path:
        """Where the counts are kept, after a yes."""
        return self.state / "journal.sqlite3"

    @property
    def damaged_file(self) -> Path:
        """Where a damaged journal is set aside; while it is there, contributions are off."""
        return self.state / "journal.sqlite3.damaged"

    def answer(self) -> str | Unreadable | None:
        """The consent file's text, None when nobody has answered; another user's file is nobody's answer here."""
        return _read(self.consent_file, of_this_user=True)

    def policy_text(self) -> str | Unreadable | None:
        """The policy file's text, None when there is none."""
        return _read(self.policy)

    def evidence(self, environment: Mapping[str, str]) -> Evidence:
        """All that a decision looks at, as it is now; reads three files at most and writes nothing."""
        named = environment.get(RECEIPT_VARIABLE)
        return Evidence(
            environment,
            policy=self.policy_text(),
            authorization=understand(_read(Path(named)) or Unreadable.FILE) if named else None,
            answer=understand(self.answer()),
            forced_off=switch.is_forced_off(),
            is_foreign=self.is_foreign(),
            is_damaged=os.path.lexists(self.damaged_file),
            is_homeless=self.is_nowhere,
        )

    def consent(self, environment: Mapping[str, str], now: datetime | None = None) -> Consent:
        """The decision in force now; writes nothing.

        Args:
            environment: The process's environment.
            now: Another moment, for what expires.
        """
        return decide(self.evidence(environment), now or datetime.now(timezone.utc))

    def is_foreign(self) -> bool:
        """Whether this is the superuser in somebody else's folders, as ``sudo`` leaves them."""
        return is_superuser() and any(map(is_somebody_elses, (self.config, self.state)))

    def record(self, answer: Answer, *, replacing: str | Unreadable | EllipsisType | None = ...) -> None:
        """Write the consent file, readable by its owner alone and whole at every moment.

        What an answer takes back of the one before is noted in it. The superuser's no in somebody else's folders
        becomes theirs; a yes is refused there.

        Args:
            answer: What was answered.
            replacing: What :meth:`answer` gave when the question was put, so that an answer that was given
                meanwhile stands; without it, whatever is there is replaced.

        Raises:
            AnsweredMeanwhile: there is another answer than ``replacing``.
            OSError: the disk does not let it, or there is no home folder.
            ValueError: the answer is to other words than this release's.
        """
        if answer.purposes and self.is_foreign():
            raise PermissionError(
                errno.EPERM, "a yes is for the owner of this folder alone to give", str(self.config)
            )
        make_private_folder(self.config)
        with locked(self.config):
            seen = self.answer()
            if replacing is not ... and seen != replacing:
                raise AnsweredMeanwhile(_MEANWHILE)
            earlier = parse_receipt(seen) if isinstance(seen, str) else None
            text = format_receipt(answer.succeeding(earlier))
            try:
                write_whole(self.consent_file, text, is_first=replacing is None)
            except FileExistsError as error:
                raise AnsweredMeanwhile(_MEANWHILE) from error

    def delete_journal(self) -> None:
        """Delete the journal, and what a crash left beside it and beside the consent file; raises OSError."""
        beside = [self.journal_file.with_name(self.journal_file.name + end) for end in ("-journal", "-wal", "-shm")]
        for file in (self.journal_file, *beside, *self.config.glob(f"{UNFINISHED}*")):
            file.unlink(missing_ok=True)


def _read(path: Path, *, of_this_user: bool = False) -> str | Unreadable | None:
    try:
        if _is_absent(path):
            return None
        with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | _NO_WAIT)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or (of_this_user and is_another_users(found)):
                return Unreadable.FILE
            text = file.read(LONGEST_RECEIPT + 1)
    except (OSError, ValueError):
        return Unreadable.FILE
    return text if len(text) <= LONGEST_RECEIPT else Unreadable.FILE


def _is_absent(path: Path) -> bool:
    """Whether nothing is there: not even a link that leads nowhere, in the path's place or on the way to it."""
    try:
        path.lstat()
    except FileNotFoundError:
        return next(parent for parent in path.parents if os.path.lexists(parent)).is_dir()
    return False
