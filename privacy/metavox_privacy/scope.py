"""How finely a release is cut, chosen from what is public before anything of its own reports is looked at.

A fleet too small for the schema's finest table would spend its budget on cells that noise eats. So while the last
release showed few installations, the next one is cut coarser. That choice sees nothing but a noisy release, and so
costs no privacy.
"""

from __future__ import annotations

from metavox_privacy.fields import Scope
from metavox_privacy.release import Release

FULL_FROM = 10_000
"""From how many installations a week on a release is cut as the schema says; docs/accuracy.md says why."""

_COUNTED_BY = "hardware"
"""A table in which nearly every installation is in one cell."""


def installations(release: Release) -> int:
    """About how many installations a week a release shows, by the cells that it published.

    An installation with several kinds of hardware is counted in each of them.
    """
    (table,) = (table for table in release.tables if table.name == _COUNTED_BY)
    return sum(cell.contributors for cell in table.cells) // release.weeks


def scope_after(last: Release | None) -> Scope:
    """The scope of the release after this one; coarse where there is none, for nothing public says better."""
    return "full" if last is not None and installations(last) >= FULL_FROM else "coarse"
