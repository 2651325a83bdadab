"""Whether the ledger is whole, pays for this release, and kept to its caps."""

from __future__ import annotations

from collections.abc import Iterator

from metavox_collector.pack.opened import Opened
from metavox_collector.proof.paths import LEDGER, RELEASE
from metavox_collector.proof.problem import Problem
from metavox_privacy.budget import LedgerBroken, releases_in, spent_in, verify


def check(pack: Opened) -> Iterator[Problem]:
    """All that is wrong with the ledger, and between it and the release."""
    yield from _chain(pack)
    yield from _payment(pack)
    yield from _caps(pack)
    yield from _once(pack)


def _chain(pack: Opened) -> Iterator[Problem]:
    try:
        verify(pack.history)
    except LedgerBroken as broken:
        yield Problem(LEDGER, f"{broken}: the chain of hashes is broken")


def _payment(pack: Opened) -> Iterator[Problem]:
    """The one entry that paid, and that nothing was taken back since."""
    release = pack.release
    about = [e for e in pack.history if (e.week, e.purpose) == (release.week, release.purpose)]
    paid = [entry for entry in about if not entry.reason]
    if len(paid) != 1:
        yield Problem(LEDGER, f"{len(paid)} entries pay for {release.week} '{release.purpose}'; it must be one")
        return
    if paid[0].release != release.sha256:
        yield Problem(RELEASE, f"its SHA-256 is {release.sha256}; the ledger paid for {paid[0].release}")
    for name in ("weeks", "scope", "schema_version", "nano_rho"):
        if getattr(paid[0], name) != getattr(release, name):
            yield Problem(RELEASE, f"its {name} is not what the ledger has paid for")
    for entry in about[1:]:
        if entry.release != paid[0].release or entry.nano_rho:
            yield Problem(LEDGER, f"entry {entry.sequence} is no correction of the release that it names")
        if entry.reason == "withdrawn":
            yield Problem(LEDGER, f"entry {entry.sequence} withdraws this release: it must not be used")
    if pack.history[-1] not in (about[-1], *_of_week(pack)):
        yield Problem(LEDGER, "it goes on after the last entry of the release's week or about it")


def _of_week(pack: Opened) -> list[object]:
    return [entry for entry in pack.history if entry.week == pack.release.week]


def _caps(pack: Opened) -> Iterator[Problem]:
    """Each entry was within the cap that it was held against, by what each of its ISO years had cost until then."""
    for position, entry in enumerate(pack.history, start=1):
        for year in entry.years:
            spent = spent_in(pack.history[:position], year)
            if spent > entry.yearly_cap:
                words = f"with entry {entry.sequence} the year {year} had cost {spent} nano-rho"
                yield Problem(LEDGER, f"{words}, above the cap of {entry.yearly_cap}")
        if entry.nano_rho < 0 or bool(entry.nano_rho) == bool(entry.reason):
            yield Problem(LEDGER, f"entry {entry.sequence} costs {entry.nano_rho} nano-rho, which cannot be")


def _once(pack: Opened) -> Iterator[Problem]:
    """No week was released twice for a purpose, neither alone nor with others."""
    seen: set[tuple[str, str]] = set()
    for entry in releases_in(pack.history):
        covered = {(str(entry.week.before(n)), entry.purpose) for n in range(entry.weeks)}
        for week, purpose in sorted(covered & seen):
            yield Problem(LEDGER, f"entry {entry.sequence} releases {week} for '{purpose}' a second time")
        seen |= covered


def check_previous(pack: Opened, previous: Opened) -> Iterator[Problem]:
    """Whether an earlier pack's ledger is the beginning of this one's."""
    length = len(previous.history)
    if length > len(pack.history):
        yield Problem(LEDGER, "it is shorter than that of the earlier pack; name the packs the other way round")
    elif pack.history[:length] != previous.history:
        pairs = zip(pack.history, previous.history, strict=False)
        differing = next(old.sequence for new, old in pairs if new != old)
        yield Problem(LEDGER, f"entry {differing} is not that of the earlier pack: the past was altered")
