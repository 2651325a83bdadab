"""``metavox``: puts the verbs together. Each imports what it needs when it runs."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The console script. Ends the process: 0 done, 1 it failed, 2 it was called wrongly."""
    if sys.argv[1:] == ["--version"]:  # before anything heavy is imported
        print_version()
        return
    # torch's threads else spin while they wait for one another, and with one core taken by a neighbour
    # that makes small models some forty times slower. Here the process is ours; in a library it is not.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from metavox.cli.console import open_streams, show_every_letter
        from metavox.cli.verbs import app

        open_streams()
        show_every_letter()
        app()
    except KeyboardInterrupt:  # while the parts are still being imported
        sys.exit(130)


def print_version() -> None:
    """Print the installed version on standard output."""
    from importlib.metadata import version

    print(version("metavox"))  # noqa: T201  # the answer
