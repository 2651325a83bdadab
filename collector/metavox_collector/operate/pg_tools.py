"""PostgreSQL's own programs: dump what is to be kept, and bring it back in one transaction that can be refused.

Every command is a list of words of ours, of an operator's files and of a URL without its password. No shell reads
it, which is why the linter's S603 is put aside here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from metavox_collector.errors import CollectorError, NotAllowed

_OTHER_LEDGER, _OTHER_REVISION = "MV001", "MV002"
"""The SQLSTATEs by which the end of a restore says that what it brought back is not what was asked for."""

_ENDING = """
RESET search_path;
DO $$ BEGIN
    IF (SELECT hash FROM ledger ORDER BY sequence DESC LIMIT 1) IS DISTINCT FROM {head} THEN
        RAISE EXCEPTION USING ERRCODE = '{other_ledger}';
    END IF;
    IF NOT EXISTS (SELECT FROM alembic_version WHERE version_num IN ({revisions})) THEN
        RAISE EXCEPTION USING ERRCODE = '{other_revision}';
    END IF;
END $$;
"""


class OtherLedger(CollectorError):
    """A backup's ledger does not end where it was said to."""


class OtherRevision(CollectorError):
    """A backup is of a revision that this software does not know."""


@dataclass(frozen=True)
class Wanted:
    """What a restore has to bring back.

    Attributes:
        head: The hash of the last ledger entry; None if there is none.
        revisions: Of the database; one of these.
    """

    head: str | None
    revisions: Collection[str]


@dataclass(frozen=True)
class Target:
    """A database as PostgreSQL's programs are told of it: the password is not on their command lines.

    Attributes:
        uri: Without a password.
        environment: Of the program; it holds the password if there is one.
    """

    uri: str
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Target:
        """From SQLAlchemy's URL."""
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        uri = urlunsplit(parts._replace(scheme="postgresql", netloc=f"{user.partition(':')[0]}{at}{host}"))
        secret = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
        return cls(uri, {**os.environ, **secret})


def version_of(program: str) -> int:
    """The major version of one of PostgreSQL's programs.

    Raises:
        NotAllowed: if it is not installed.
    """
    if shutil.which(program) is None:
        raise NotAllowed(
            f"{program} is not installed; install the server's version of the package postgresql-client"
        )
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    found = re.search(r"\(PostgreSQL\) (\d+)", words)
    if found is None:
        raise NotAllowed(f"{program} does not say its version; install PostgreSQL's own")
    return int(found[1])


def require(program: str, server: int) -> None:
    """Refuse a program that is older than the server.

    Raises:
        NotAllowed: if it is, or is not installed.
    """
    if (mine := version_of(program)) < server:
        raise NotAllowed(
            f"{program} is of version {mine} and the server of version {server}; "
            f"install postgresql-client-{server} and put its folder first in PATH"
        )


def dump(target: Target, file: Path, tables: Sequence[str], options: Sequence[str] = ()) -> None:
    """Write tables into a file, in PostgreSQL's custom format, out of one snapshot.

    Args:
        target: The database.
        file: It is overwritten.
        tables: Their names.
        options: Further ones of pg_dump's.

    Raises:
        CollectorError: if it cannot be done.
    """
    chosen = [*(f"--table={table}" for table in tables), *options, f"--file={file}"]
    command = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", *chosen, target.uri]
    done = subprocess.run(command, env=target.environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CollectorError(f"the backup could not be made: {_first_line(done.stderr)}")


def contents(file: Path) -> list[str]:
    """The lines of a dump's table of contents.

    Raises:
        CollectorError: if the file is no dump.
    """
    command = ["pg_restore", "--list", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CollectorError(f"{file} is no backup of PostgreSQL's: {_first_line(done.stderr)}")
    return [line for line in done.stdout.splitlines() if line and not line.startswith(";")]


def restore(target: Target, file: Path, entries: Sequence[str], wanted: Wanted) -> None:
    """Bring back some of a dump's entries, all of them or, if they are not what is wanted, nothing.

    Args:
        target: A database without these tables.
        file: The dump.
        entries: Lines of its table of contents.
        wanted: What they have to be.

    Raises:
        OtherLedger: if the ledger ends otherwise.
        OtherRevision: if the database is of a revision that is not wanted.
        CollectorError: if it cannot be done.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen, tempfile.TemporaryFile("w+") as said:
        chosen.write("\n".join(entries) + "\n")
        chosen.flush()
        status = _run(_script(file, chosen.name), target, _ending(wanted), said)
        said.seek(0)
        words = said.read()
    if _OTHER_LEDGER in words:
        raise OtherLedger("the backup's ledger ends elsewhere; nothing was restored")
    if _OTHER_REVISION in words:
        raise OtherRevision("the backup is of an unknown revision; nothing was restored")
    if status:
        raise CollectorError(f"nothing was restored: {_first_line(words)}")


def _script(file: Path, chosen: str) -> list[str]:
    return ["pg_restore", "--no-owner", "--no-privileges", "--use-list", chosen, "--file=-", str(file)]


def _ending(wanted: Wanted) -> bytes:
    head = f"'{wanted.head}'" if wanted.head else "NULL"
    revisions = ", ".join(f"'{revision}'" for revision in sorted(wanted.revisions))
    codes = {"other_ledger": _OTHER_LEDGER, "other_revision": _OTHER_REVISION}
    return _ENDING.format(head=head, revisions=revisions, **codes).encode()


def _run(script: Sequence[str], target: Target, ending: bytes, said: IO[str]) -> int:
    """Have psql run what a program writes, and then the ending, in one transaction; returns its exit status."""
    # Of an error in the script psql tells the code alone, for its words may quote a row.
    quiet = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate"]
    command = ["psql", *quiet, "--single-transaction", "--file=-", target.uri]
    with (
        subprocess.Popen(script, stdout=subprocess.PIPE, stderr=said) as writer,  # noqa: S603
        subprocess.Popen(  # noqa: S603
            command, env=target.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        ) as psql,
    ):
        assert writer.stdout is not None
        assert psql.stdin is not None
        with suppress(BrokenPipeError):  # psql has stopped, and has said why
            shutil.copyfileobj(writer.stdout, psql.stdin)
            if writer.wait():
                psql.kill()  # at the end of its input it would commit
            else:
                psql.stdin.write(ending)
            psql.stdin.close()
        writer.stdout.close()
    return psql.returncode


def _first_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[0] if lines else "it does not say why"
