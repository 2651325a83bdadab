"""What can be wrong, each as a small look that changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import (
    COLLECTOR_VARIABLE,
    RECEIPT_VARIABLE,
    Answer,
    Evidence,
    Unreadable,
    decide,
    names_another_collector,
)

State: TypeAlias = Literal["ok", "note", "problem"]

_ROOM = 2 * 2**20  # bytes: the journal at its largest, and as much again while it is being written
_SLOW = timedelta(minutes=5)  # clocks are set by some seconds all the time


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        state: Whether it is well; a ``note`` is not wrong, and worth knowing.
        said: What was found.
        do: What to do about it, None where nothing is to be done.
    """

    name: str
    state: State
    said: str
    do: str | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks look at.

    Attributes:
        home: The folders.
        environment: The process's environment.
        evidence: What a decision would look at.
        now: The clock.
    """

    home: Home
    environment: Mapping[str, str]
    evidence: Evidence
    now: datetime


Look: TypeAlias = Callable[[Scene], Iterator[Check]]


def check_all(home: Home, environment: Mapping[str, str], now: datetime) -> list[Check]:
    """Every check, in the order in which a decision is made and a report goes out."""
    scene = Scene(home, environment, home.evidence(environment), now)
    of_user: tuple[Look, ...] = (_answer, _damage, _journal, _folders, _room)
    if scene.evidence.is_foreign:  # whose files these are is then the only question
        of_user = (_user,)
    elif home.is_nowhere:
        of_user = (_nowhere,)
    looks = (_decision, _policy, _receipt, *of_user, _clock, _collector, _others)
    return [check for look in looks for check in look(scene)]


def _user(scene: Scene) -> Iterator[Check]:
    said = f"this is the superuser, and {scene.home.config} is somebody else's"
    do = "run the same as that user, without sudo; a container's root needs a folder that is root's"
    yield Check("user", "problem", said, do)


def _nowhere(scene: Scene) -> Iterator[Check]:
    said = "there is none, so nothing can be kept"
    yield Check("folder", "problem", said, "METAVOX_HOME can name one, by its whole path")


def _decision(scene: Scene) -> Iterator[Check]:
    decided = decide(scene.evidence, scene.now)
    yield Check("decision", "ok", f"{'on' if decided.granted else 'off'}: {decided.rule}")


def _policy(scene: Scene) -> Iterator[Check]:
    path, text = scene.home.policy, scene.evidence.policy
    if text is None:
        yield Check("policy", "ok", f"there is none ({path})")
    elif isinstance(text, Unreadable):
        do = "its administrator can let everybody read it, or remove it"
        yield Check("policy", "problem", f"{path} cannot be read, which forces contributions off", do)
    else:
        forces = decide(Evidence({}, policy=text), scene.now).rule != decide(Evidence({}), scene.now).rule
        yield Check("policy", "ok", f"{path} {'forces contributions off' if forces else 'leaves it to the user'}")


def _receipt(scene: Scene) -> Iterator[Check]:
    named, given = scene.environment.get(RECEIPT_VARIABLE), scene.evidence.authorization
    name = "deployment receipt"
    if not named:
        yield Check(name, "ok", f"none is named ({RECEIPT_VARIABLE})")
        return
    mint = "'metavox telemetry authorize' mints one"
    if given is None or isinstance(given, Unreadable):
        yield Check(name, "problem", f"{named} cannot be read or understood", mint)
        return
    alone = Evidence(
        {"METAVOX_TELEMETRY": "on", COLLECTOR_VARIABLE: scene.environment.get(COLLECTOR_VARIABLE, "")},
        authorization=given,
    )
    decided = decide(alone, scene.now)
    if not decided.granted:
        yield Check(name, "problem", decided.rule, mint)
    elif not scene.environment.get("METAVOX_TELEMETRY"):
        do = "set METAVOX_TELEMETRY=on beside it"
        yield Check(name, "problem", f"{named} is valid, and counts for nothing by itself", do)
    else:
        yield Check(name, "ok", f"{named} holds until {given.expires_at:%Y-%m-%d}")


def _answer(scene: Scene) -> Iterator[Check]:
    path, given = scene.home.consent_file, scene.evidence.answer
    if given is None:
        yield Check("answer", "ok", f"nobody has answered ({path})")
    elif isinstance(given, Unreadable):
        do = "see whose it is and who may read it; 'metavox telemetry on' or 'off' writes a new one"
        yield Check("answer", "problem", f"{path} cannot be read or understood, so contributions are off", do)
    else:
        yield from _private("answer", path, _in_words(given))


def _in_words(given: Answer) -> str:
    when = f"of {given.answered_at:%Y-%m-%d}"
    if given.purposes:
        return f"a yes {when}, to {' and '.join(sorted(given.purposes))}"
    if given.ask_again_after is not None:
        return f"a 'not now' {when}, until {given.ask_again_after:%Y-%m-%d}"
    return f"a no {when}"


def _private(name: str, path: Path, said: str) -> Iterator[Check]:
    """A file of ours: it should belong to the user, and be for nobody else to read."""
    try:
        found = path.stat()
    except OSError as error:
        yield Check(name, "problem", f"{path}: {error.strerror}", "see whose it is and who may read it")
        return
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        do = f"give it to the user who runs this: chown {os.geteuid()} {path}"
        yield Check(name, "problem", f"{said}; {path} belongs to another user", do)
    elif os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        yield Check(name, "problem", f"{said}; others may open {path}", f"chmod 600 {path}")
    else:
        yield Check(name, "ok", f"{said} ({path})")


def _damage(scene: Scene) -> Iterator[Check]:
    path = scene.home.damaged_file
    if os.path.lexists(path):
        do = "'metavox telemetry on' begins a new one, 'off' leaves it at that; either deletes the damaged file"
        yield Check("damage", "problem", f"the journal was damaged, and is set aside as {path}", do)


def _journal(scene: Scene) -> Iterator[Check]:
    from metavox.telemetry.journal.database import existing
    from metavox.telemetry.journal.holdings import holdings

    path = scene.home.journal_file
    if not os.path.exists(path):
        yield Check("journal", "ok", f"there is none ({path})")
        return
    try:
        with existing(path) as sql:
            (verdict,) = sql.execute("PRAGMA integrity_check(1)").fetchone()
        weeks = len(holdings(path).weeks)
    except (OSError, sqlite3.Error) as error:
        verdict, weeks = str(error), 0
    if verdict == "ok":
        size = f"{path.stat().st_size / 1024:.0f} KiB"
        yield from _private("journal", path, f"whole, {weeks} {'week' if weeks == 1 else 'weeks'} in {size}")
    else:
        do = "'metavox telemetry off' deletes it; 'on' then begins a new one"
        yield Check("journal", "problem", f"{path} cannot be used: {verdict}", do)


def _folders(scene: Scene) -> Iterator[Check]:
    for folder in dict.fromkeys((scene.home.config, scene.home.state)):
        nearest = _nearest(folder)
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            do = "METAVOX_HOME can name a folder that can be written"
            yield Check("folder", "problem", f"{folder} cannot be written, so nothing can be kept", do)
        elif os.name == "posix" and nearest == folder and stat.S_IMODE(folder.stat().st_mode) & 0o022:
            yield Check("folder", "problem", f"others may write to {folder}", f"chmod 700 {folder}")
        else:
            yield Check("folder", "ok", f"{folder} {'can be written' if nearest == folder else 'can be made'}")


def _room(scene: Scene) -> Iterator[Check]:
    nearest = _nearest(scene.home.state)
    try:
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        yield Check("disk", "problem", f"{nearest}: {error.strerror}", "METAVOX_HOME can name another folder")
        return
    if free < _ROOM:
        do = "make room; until then counts are lost, and nothing else"
        yield Check("disk", "problem", f"{free / 1024:.0f} KiB are left where the journal is", do)
    else:
        yield Check("disk", "ok", f"{free / 2**30:.1f} GiB are left where the journal is")


def _clock(scene: Scene) -> Iterator[Check]:
    """A clock that runs behind counts nothing after a yes, and files what it counts under the wrong week."""
    given, made = scene.evidence.answer, Path(__file__).stat().st_mtime
    said = f"{scene.now:%Y-%m-%d %H:%M} UTC"
    do = "set the clock; weeks are told by it"
    if isinstance(given, Answer) and scene.now < given.answered_at - _SLOW:
        yield Check("clock", "problem", f"{said} is before the answer of {given.answered_at:%Y-%m-%d %H:%M}", do)
    elif scene.now.timestamp() < made - timedelta(days=1).total_seconds():
        yield Check("clock", "problem", f"{said} is before the day this release was installed", do)
    else:
        yield Check("clock", "ok", said)


def _collector(scene: Scene) -> Iterator[Check]:
    from metavox.telemetry.upload.transport import Address

    url = scene.environment.get("METAVOX_COLLECTOR_URL", "")
    if not url:
        yield Check("collector", "ok", "none is named (METAVOX_COLLECTOR_URL), so nothing is ever sent")
        return
    try:
        Address.parse(url)
    except ValueError as error:
        yield Check("collector", "problem", str(error), "correct METAVOX_COLLECTOR_URL, or unset it")
        return
    given = scene.evidence.answer
    if isinstance(given, Answer) and given.purposes and names_another_collector(scene.environment, given):
        do = "'metavox telemetry on' asks anew; or name the other one again"
        yield Check("collector", "problem", f"{url} is another than {given.collector}, to which you agreed", do)
    else:
        yield Check("collector", "ok", f"{url}; whether it answers was not tried")


def _others(scene: Scene) -> Iterator[Check]:
    from metavox.telemetry.others import detection as others

    active = [other for other in others.found(scene.environment) if other.is_on]
    for other in active:
        do = f"{other.switch_off}" + (f", or {other.elsewhere}" if other.elsewhere else "")
        yield Check("other telemetry", "note", f"{other.library} sends {other.sends}", do)
    if not active:
        yield Check("other telemetry", "ok", "none that we know of is on here")


def _nearest(folder: Path) -> Path:
    """The folder, or the first one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
