"""The two licences under which the same data is offered: names, identifiers, addresses, once for every format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence.

    Attributes:
        name: In English.
        identifier: In the SPDX list, or ``LicenseRef-…`` as SPDX names what its list does not have.
        url: Where its text is: on the web, or within the pack.
        path: Its text within the pack.
        audience: Whom it is for, in a few words.
    """

    name: str
    identifier: str
    url: str
    path: str
    audience: str


COMMUNITY = Licence(
    name="Community Data License Agreement – Permissive – Version 2.0",
    identifier="CDLA-Permissive-2.0",
    url="https://cdla.dev/permissive-2-0/",
    path="licences/CDLA-Permissive-2.0.txt",
    audience="research and community",
)
"""For everybody who keeps to the licence's one duty: to pass its text on with the data."""

COMMERCIAL = Licence(
    name="MetaVox Commercial Data Agreement 1.0",
    identifier="LicenseRef-MetaVox-Commercial-1.0",
    url="licences/commercial.md",
    path="licences/commercial.md",
    audience="commercial, by contract",
)
"""For who needs the publisher's warranties, delivery and recall; it binds once both parties have signed it."""

LICENCES = (COMMUNITY, COMMERCIAL)
"""Each is enough on its own: whoever receives the data chooses."""

CHOICE = (
    "The community licence lets anybody use the data, also commercially, and asks whoever passes them on to add "
    "its text. The commercial agreement adds warranties, delivery and recall, and forbids re-identification."
)
"""What the choice is about, in two sentences; the licences' own texts hold."""

EXPRESSION = " OR ".join(licence.identifier for licence in LICENCES)
"""The choice as an SPDX expression."""

POLICY_PATH = "licences/odrl.ttl"
"""Both licences as ODRL policies, within the pack."""
