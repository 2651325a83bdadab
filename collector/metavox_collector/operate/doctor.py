"""Whether the service would start and do well: its settings and what is around it, without starting it."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from metavox_collector.clock import Clock
from metavox_collector.errors import CollectorError, NotAllowed, StoreUnavailable, WrongDatabase
from metavox_collector.operate import pg_tools, tls
from metavox_collector.operate.check import discretion, durability, permissions
from metavox_collector.operate.findings import Finding, error, ok, warning
from metavox_collector.operate.unsafe import unsafe
from metavox_collector.serve.listen import is_loopback
from metavox_collector.settings import Settings
from metavox_collector.store import Database, copies, inspection
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

OLDEST_POSTGRESQL = 15
_SKEW = timedelta(seconds=5)
_HURRY = 1
"""Days for a close that are too few for whoever starts it by hand."""

_RENEWAL = timedelta(days=14)
_ROOM = 2 * 2**30
_FILES_BESIDE = 128
"""Files that a process has open beside its connections: the database, logs, libraries."""


def examine(settings: Settings, schema: Schema, clock: Clock) -> Iterator[Finding]:
    """Look at everything that can be looked at from outside.

    Args:
        settings: Of the service.
        schema: Under which it stages.
        clock: This machine's.
    """
    try:
        if settings.db.startswith("sqlite"):
            copies.file_of(settings.db)
    except WrongDatabase as wrong:
        yield error("database", str(wrong))
        return
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _settings(settings),
        lambda: _cadence(settings),
        lambda: _reachable(settings),
        lambda: _certificate(settings, clock()),
        lambda: _files(settings),
        lambda: _database(settings, schema, clock),
    )
    for look in looks:
        yield from look()


def _settings(settings: Settings) -> Iterator[Finding]:
    words = list(unsafe(settings))
    yield from (error("settings", one) for one in words)
    if not words:
        yield ok("settings", "nothing in them is unsafe")


def _cadence(settings: Settings) -> Iterator[Finding]:
    """How long there is to close: the first of several weeks is kept for as long as if it were alone."""
    end = settings.accepted_for - timedelta(weeks=settings.cadence_weeks - 1)
    days = (end - settings.grace) / timedelta(days=1)
    what = "a week" if settings.cadence_weeks == 1 else "the last of four weeks"
    span = "1 day" if days == 1 else f"{days:g} days"
    words = f"{what} can be closed from {settings.grace_days} days after its end on, for {span}"
    if days > _HURRY:
        yield ok("cadence", words)
    else:
        late = "what fails then expires and is not released; lower grace_days, or close by metavox-close-four.timer"
        yield warning("cadence", f"{words}: {late}")


def _reachable(settings: Settings) -> Iterator[Finding]:
    if is_loopback(settings.host):
        yield ok("address", f"{settings.host} can be reached from this machine alone")
    elif settings.tls_cert:
        yield ok("address", f"{settings.host} can be reached from other machines, by TLS")
    elif settings.trusted_proxies:
        yield warning(
            "address", f"{settings.host} can be reached without TLS; see that only the trusted proxies reach it"
        )
    elif settings.allow_public:
        yield warning(
            "address", f"{settings.host} can be reached without TLS: what people send can be read under way"
        )
    else:
        yield error("address", f"{settings.host} can be reached from other machines; set tls_cert and tls_key")


def _certificate(settings: Settings, now: datetime) -> Iterator[Finding]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        until = tls.valid_until(settings.tls_cert, settings.tls_key)
    except NotAllowed as refused:
        yield error("certificate", str(refused))
        return
    finding = ok if until - now > _RENEWAL else warning
    yield finding("certificate", f"valid until {until:%Y-%m-%d %H:%M} UTC")


def _files(settings: Settings) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * settings.max_connections + _FILES_BESIDE  # the others are told that there are too many
    if soft < needed:
        words = f"{soft} are allowed and {needed} needed; run: ulimit -n {needed} (systemd: LimitNOFILE={needed})"
        yield error("open files", words)
    else:
        yield ok("open files", f"{soft} are allowed")
    if settings.db.startswith("sqlite"):
        yield from _folder(settings)


def _folder(settings: Settings) -> Iterator[Finding]:
    file = copies.file_of(settings.db).absolute()
    if not os.access(file.parent, os.W_OK):
        words = "cannot be written to by this user, and SQLite must" if file.parent.is_dir() else "is not there"
        yield error("folder", f"{file.parent} {words}")
        return
    free = shutil.disk_usage(file.parent).free
    finding = ok if free > _ROOM else warning
    yield finding("disk", f"{free / 2**30:.1f} GiB are free under {file.parent}; a million reports take 1 GiB")
    yield from permissions(settings)


def _database(settings: Settings, schema: Schema, clock: Clock) -> Iterator[Finding]:
    try:
        if not _is_there(settings):
            yield from _to_be_made(settings)
            return
        database = Database.existing(settings.db, schema, busy_timeout=settings.busy_timeout_s)
    except StoreUnavailable as away:
        yield error("database", f"{away}; see that it runs, and that this machine and user may reach it")
        return
    except CollectorError as wrong:
        yield error("database", str(wrong))
        return
    try:
        yield from _inside(database, settings, clock)
    finally:
        database.dispose()


def _is_there(settings: Settings) -> bool:
    if settings.db.startswith("sqlite"):
        return copies.file_of(settings.db).exists()
    return inspection.is_there(settings.db, settings.busy_timeout_s)


def _to_be_made(settings: Settings) -> Iterator[Finding]:
    if not settings.db.startswith("sqlite"):
        yield ok("database", "it can be reached and is empty; serve makes the tables")
    elif os.access(copies.file_of(settings.db).absolute().parent, os.W_OK):
        yield ok("database", "it is not there; serve makes it")


def _inside(database: Database, settings: Settings, clock: Clock) -> Iterator[Finding]:
    yield _kind(database, settings)
    with database.read() as transaction:
        closed, server = transaction.closed_weeks(), inspection.server(transaction)
        now = clock()  # beside the database's own, which may have taken its time to answer
    yield from durability(server)
    yield from discretion(server)
    yield from _past(closed, now)
    if database.dialect == "postgresql":
        yield _version(server)
        yield _clock(server, now)
        yield _programs(server)


def _kind(database: Database, settings: Settings) -> Finding:
    if database.sandbox != settings.sandbox:
        is_, set_ = ("a sandbox", "production") if database.sandbox else ("for production", "a sandbox")
        return error("database", f"it is {is_} and the settings are for {set_}; change sandbox, or db")
    try:
        database.require_cap(settings.yearly_cap_nano_rho)
    except NotAllowed as refused:
        return error("database", str(refused))
    return ok("database", "it is there, of this revision and of this kind")


def _past(closed: frozenset[Week], now: datetime) -> Iterator[Finding]:
    """Whether this machine's clock is behind what has happened already."""
    if closed and max(closed).end > now:
        yield error("clock", f"{max(closed)} was released and by this machine's clock is not over; run NTP")


def _version(server: inspection.Server) -> Finding:
    if server.major < OLDEST_POSTGRESQL:
        return error("server", f"{server.name} is too old; {OLDEST_POSTGRESQL} is the oldest that is supported")
    return ok("server", server.name)


def _clock(server: inspection.Server, now: datetime) -> Finding:
    assert server.now is not None, "PostgreSQL has a clock"
    apart = abs(server.now - now)
    words = f"this machine and the database are {apart.total_seconds():.0f} s apart"
    if apart > _SKEW:
        return error("clock", f"{words}; weeks would open and close at the wrong moment: run NTP on both")
    return ok("clock", words)


def _programs(server: inspection.Server) -> Finding:
    try:
        pg_tools.require("pg_dump", server.major)
    except NotAllowed as refused:
        return warning("backup", str(refused))
    return ok("backup", "pg_dump is there")
