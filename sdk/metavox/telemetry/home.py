"""Where the few files are: the answer, the journal, and the system's policy."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from metavox.telemetry import switch
from metavox_privacy.consent import RECEIPT_VARIABLE, Answer, Consent, Evidence, Unreadable, decide
from metavox_privacy.receipt import format_receipt, understand

_POLICY = Path("/etc/metavox/policy.json")
_NOWHERE = Path(os.devnull, "metavox")  # where nothing can be, so that it reads as off and takes no file
_LONGEST = 64 * 1024
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO would wait for a writer
_UNFINISHED = ".consent-"


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

        Somebody without a home folder, as many containers' users are, has no place for an answer: off.
        """
        chosen = environment.get("METAVOX_HOME")
        if chosen:
            return cls(Path(chosen), Path(chosen))
        from platformdirs import user_config_path, user_state_path

        try:
            config, state = user_config_path("metavox"), user_state_path("metavox")
        except RuntimeError:
            return cls(_NOWHERE, _NOWHERE)
        if not (config.is_absolute() and state.is_absolute()):  # older platformdirs: "~", below the current folder
            return cls(_NOWHERE, _NOWHERE)
        return cls(config, state)

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
        """The consent file's text, None when nobody has answered."""
        return _read(self.consent_file)

    def policy_text(self) -> str | Unreadable | None:
        """The policy file's text, None when there is none."""
        return _read(self.policy)

    def evidence(self, environment: Mapping[str, str]) -> Evidence:
        """All that a decision looks at, as it is now; reads three files at most and writes nothing."""
        named = environment.get(RECEIPT_VARIABLE)
        return Evidence(
            environment,
            policy=self.policy_text(),
            authorization=understand(_read(Path(named))) if named else None,
            answer=understand(self.answer()),
            forced_off=switch.is_forced_off(),
            is_foreign=_is_superuser() and any(map(_is_somebody_elses, (self.config, self.state))),
            is_damaged=os.path.lexists(self.damaged_file),
        )

    def consent(self, environment: Mapping[str, str], now: datetime | None = None) -> Consent:
        """The decision in force now; writes nothing.

        Args:
            environment: The process's environment.
            now: Another moment, for what expires.
        """
        return decide(self.evidence(environment), now or datetime.now(timezone.utc))

    def record(self, answer: Answer) -> None:
        """Write the consent file, readable by its owner alone and whole at every moment; raises OSError."""
        make_private_folder(self.config)
        handle, temporary = tempfile.mkstemp(dir=self.config, prefix=_UNFINISHED)  # 0600, and new
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(format_receipt(answer))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.consent_file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def delete_journal(self) -> None:
        """Delete the journal, and what a crash left beside it and beside the consent file; raises OSError."""
        beside = [self.journal_file.with_name(self.journal_file.name + end) for end in ("-journal", "-wal", "-shm")]
        for file in (self.journal_file, *beside, *self.config.glob(f"{_UNFINISHED}*")):
            file.unlink(missing_ok=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents, for the owner alone (0700); raises OSError."""
    if folder == _NOWHERE:
        raise OSError(errno.ENOENT, "there is no home folder; METAVOX_HOME can name one", str(folder))
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _read(path: Path) -> str | Unreadable | None:
    try:
        if _is_absent(path):
            return None
        with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | _NO_WAIT)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Unreadable.FILE
            text = file.read(_LONGEST + 1)
    except (OSError, ValueError):
        return Unreadable.FILE
    return text if len(text) <= _LONGEST else Unreadable.FILE


def _is_superuser() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _is_somebody_elses(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, belongs to another user than this one."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        return nearest.stat().st_uid != os.geteuid()
    except OSError:  # a link that leads nowhere: nobody's, which is no place for an answer
        return True


def _is_absent(path: Path) -> bool:
    """Whether nothing is there: not even a link that leads nowhere, in the path's place or on the way to it."""
    try:
        path.lstat()
    except FileNotFoundError:
        return next(parent for parent in path.parents if os.path.lexists(parent)).is_dir()
    return False
