"""``metavox-collector token``."""

from __future__ import annotations

from rich.console import Console

from metavox_collector.admission import mint


def token() -> None:
    """Make a token for a closed fleet, and the line that makes a collector accept it; neither is kept."""
    secret, line = mint()
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"For the senders, all of them the same:\n  Authorization: Bearer {secret}")
    console.print(f"For the file that --require-token names:\n  {line}")
