"""Where settings come from: the command line over the environment over a TOML file over what the code says."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit, urlunsplit

from pydantic_settings import BaseSettings, EnvSettingsSource, TomlConfigSettingsSource

from metavox_collector.errors import NotAllowed

PREFIX = "METAVOX_COLLECTOR_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
SDK_VARIABLE = f"{PREFIX}URL"  # where a contributor sends; set on many an operator's own machine
COMMAND_LINE = "command line"

URLS = ("db", "spark_db")
"""The settings that may hold a password."""

_OTHERS = 0o007
"""The permissions of everybody who is neither a file's owner nor of its group."""


@dataclass(frozen=True)
class Given:
    """One setting that somebody gave, not yet validated, and where."""

    value: Any
    source: str


def gather(kind: type[BaseSettings], config: Path | None, line: Mapping[str, object]) -> dict[str, Given]:
    """All that is given, by the setting's name.

    Args:
        kind: The class of the settings.
        config: A TOML file; None takes the one that the environment names, if it names one.
        line: What the command line says; None is not given.

    Raises:
        NotAllowed: if a name is no setting's, or the file cannot be read.
    """
    file = config or _named_by_the_environment()
    return {
        **(_of_file(kind, file) if file else {}),
        **_of_environment(kind),
        **{name: Given(value, COMMAND_LINE) for name, value in line.items() if value is not None},
    }


def _named_by_the_environment() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def _of_environment(kind: type[BaseSettings]) -> dict[str, Given]:
    names = {name for name in os.environ if name.startswith(PREFIX)} - {SDK_VARIABLE, CONFIG_VARIABLE}
    unknown = sorted(name for name in names if name[len(PREFIX) :].lower() not in kind.model_fields)
    if unknown:
        raise NotAllowed(f"{unknown[0]} is not a setting; docs/operating.md lists them")
    values = EnvSettingsSource(kind, env_prefix=PREFIX)()
    return {name: Given(value, f"{PREFIX}{name.upper()}") for name, value in values.items()}


def _of_file(kind: type[BaseSettings], file: Path) -> dict[str, Given]:
    if not file.is_file():
        raise NotAllowed(f"the configuration {file} is not there")
    try:
        values = TomlConfigSettingsSource(kind, toml_file=file)()
    except OSError as error:
        raise NotAllowed(f"the configuration {file} cannot be read: {error.strerror}") from None
    except ValueError as error:  # of tomllib, and of what is not UTF-8
        raise NotAllowed(f"the configuration {file} is not TOML: {error}") from None
    unknown = sorted(set(values) - set(kind.model_fields))
    if unknown:
        raise NotAllowed(f"{unknown[0]} in {file} is not a setting; docs/operating.md lists them")
    if any(has_password(str(values.get(name, ""))) for name in URLS):
        require_private(file)
    return {name: Given(value, str(file)) for name, value in values.items()}


def require_private(file: Path) -> None:
    """Refuse a file with a secret that everybody on the machine may read.

    Raises:
        NotAllowed: if it is such a file, or not there.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError as error:
        raise NotAllowed(f"{file} cannot be read: {error.strerror}") from None
    if not file.is_file():
        raise NotAllowed(f"{file} is no file")
    if mode & _OTHERS:
        raise NotAllowed(f"{file} holds a secret and everybody on this machine may read it; run: chmod o= {file}")


def understood(url: str) -> str:
    """A database's URL, if a password in it stands where it is looked for.

    Raises:
        NotAllowed: if it is no URL, or may hold a password elsewhere, where it would not be hidden.
    """
    _parts(url)
    return url


def has_password(url: str) -> bool:
    """Whether a database's URL holds a password; raises as :func:`understood`."""
    return bool(_parts(url).password)


def with_password_of(file: Path, url: str) -> str:
    """A database's URL with the password that a file holds in its first line.

    Raises:
        NotAllowed: if everybody may read the file, it holds none, or the URL has no user or already a password.
    """
    require_private(file)
    try:
        password = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise NotAllowed(f"the password's file {file} cannot be read ({type(error).__name__})") from None
    parts = _parts(url)
    if not password:
        raise NotAllowed(f"the password's file {file} has an empty first line")
    if parts.username is None or parts.password is not None:
        raise NotAllowed("db_password_file needs a URL with a user and without a password, like user@host")
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def without_password(url: str) -> str:
    """A database's URL as it may be shown."""
    parts = _parts(url)
    if not parts.password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # it is looked at only when it is asked for
    except ValueError:
        raise NotAllowed(_NOT_UNDERSTOOD) from None
    rest = f"{parts.path}{parts.query}{parts.fragment}"
    named = any("password" in name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if not parts.scheme.startswith("sqlite") and (named or "@" in rest or parts.netloc.count("@") > 1):
        raise NotAllowed(_NOT_UNDERSTOOD)
    return parts


_NOT_UNDERSTOOD = (
    "the database's URL is not understood; write it like postgresql://user@host/database and give the password in "
    "db_password_file, or in the URL as user:password@host with each of :/?#[]@% in it percent-encoded"
)
