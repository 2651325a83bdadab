"""The entry point: every expected error in one line on stderr."""

from __future__ import annotations

import importlib.util
import io
import resource
import sys

_EXTRA = ("fastapi", "google.rpc", "httpx", "opendp", "pyarrow", "pydantic_settings", "sqlalchemy", "uvicorn")


def main() -> None:
    """Run a verb; exit status 1 with one line when it cannot be done, 2 when the command was not understood."""
    try:
        _main()
    except KeyboardInterrupt:  # also while the parts are still being imported
        sys.exit(130)


def _main() -> None:
    # What a crash leaves on a disk would hold reports; whoever this process starts inherits it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f'{", ".join(missing)} not installed. Run: pip install "metavox[collector]"')
    # After the check, for these import what may be missing.
    from metavox_collector.cli.verbs import app_for
    from metavox_collector.errors import CollectorError
    from metavox_privacy.budget import AlreadyReleased, BudgetExhausted, LedgerBroken

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a ρ is no reason to fail after a week was released.
        sys.stdout.reconfigure(errors="replace")
    try:
        app_for(sys.argv[1:])()
    except (CollectorError, AlreadyReleased, BudgetExhausted, LedgerBroken) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:  # a fault of the software
        _trace(error)


def _trace(error: Exception) -> None:
    """Say where it went wrong; the words of an error that nobody expected may be a report's."""
    from metavox_collector.observe import logs

    logs.configure("text")
    logs.uncaught(error)
    sys.exit(1)


def _fail(message: str) -> None:
    print(f"metavox-collector: {message}", file=sys.stderr)  # noqa: T201  # this is where a person reads it
    sys.exit(1)
