"""The release browser: it asks nobody for anything, leaves no reader out, and says what no release may omit."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, Unusable, telling, text
from metavox_collector.dataset.licences import LICENCES
from metavox_collector.dataset.paths import PAGE

_LOADING = {
    "img",
    "iframe",
    "object",
    "embed",
    "base",
    "audio",
    "video",
    "source",
    "track",
    "frame",
    "image",
    "use",
}
"""Elements that would load something, or send the reader's address somewhere."""
_CAVEATS = ("Self-selection:", "Coverage:", "Phantoms:", "A cell that is missing is not zero")
_VOID = {"meta", "link", "input", "br", "hr", "path", "line", "rect"}


class _Page(HTMLParser):
    """What there is on the page.

    Attributes:
        elements: Every element's name with its attributes, in order.
        words: All text that a reader sees.
        parts: The text of each element of these kinds, in order: h1, style, script.
        unnamed: Drawings without a title, and tables without a caption.
        unclosed: Elements whose end is missing or in the wrong place.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.parts: dict[str, list[str]] = {name: [] for name in ("h1", "style", "script")}
        self.unnamed: list[str] = []
        self.unclosed: list[str] = []
        self._open: list[str] = []
        self._nameless: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        given = dict(attrs)
        self.elements.append((tag, given))
        if tag in self.parts:
            self.parts[tag].append("")
        if tag == "table" or (tag == "svg" and given.get("role") == "img"):
            self._nameless.append((len(self._open), tag))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends; a drawing's or table's name has to have come by then."""
        if tag in _VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)
        if self._nameless and self._nameless[-1] == (len(self._open), tag):
            self.unnamed.append(self._nameless.pop()[1])

    def handle_data(self, data: str) -> None:
        """Text: of a part, of a name, or to be read."""
        inside = self._open[-1] if self._open else ""
        if self.parts.get(inside):
            self.parts[inside][-1] += data
        if inside not in ("style", "script"):
            self.words += data
        if self._nameless and inside in ("title", "caption", "code") and data.strip():
            depth, tag = self._nameless[-1]
            name = "title" if tag == "svg" else "caption"
            if len(self._open) > depth + 1 and self._open[depth + 1] == name:
                self._nameless.pop()

    def close(self) -> None:
        """The end of the page."""
        super().close()
        self.unclosed += self._open


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the page, a line each."""
    page, described = _parsed(text(pack, PAGE)), dictionary(pack)
    found = (*_quiet(page), *_links(page, pack), *_readable(page), *_says(page, described))
    return [f"{PAGE}: {problem}" for problem in found]


def _parsed(content: str) -> _Page:
    page = _Page()
    try:
        page.feed(content)
        page.close()
    except (ValueError, AssertionError, RecursionError) as error:
        raise Unusable(f"{PAGE}: no HTML: {error}") from None
    return page


def _quiet(page: _Page) -> Iterator[str]:
    """Whether its policy lets nothing in but its own style and script, and whether it asks for anything."""
    names = [name for name, _ in page.elements]
    policies = [
        (given.get("content") or "", n)
        for n, (name, given) in enumerate(page.elements)
        if name == "meta" and (given.get("http-equiv") or "").lower() == "content-security-policy"
    ]
    expected = {"default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"}
    for kind in ("style", "script"):
        expected |= {f"{kind}-src {' '.join(map(_hashed, page.parts[kind]))}"}
    if len(policies) != 1 or {part.strip() for part in policies[0][0].split(";")} != expected:
        yield "its content policy is not: nothing but this style and this script"
    elif any(name in ("style", "script", "link", "body") for name in names[: policies[0][1]]):
        yield "its content policy comes after what it is for"
    for name in sorted(_LOADING & set(names)):
        yield f"has an element '{name}'"
    for name, given in page.elements:
        for attribute, value in given.items():
            if attribute.startswith("on") or attribute in (
                "src",
                "srcset",
                "style",
                "action",
                "ping",
                "xlink:href",
            ):
                yield f"an element '{name}' has the attribute '{attribute}'"
            if name == "link" and attribute == "href" and value != "data:,":
                yield f"an element 'link' asks for {value}"
            if name == "meta" and attribute == "http-equiv" and (value or "").lower() == "refresh":
                yield "sends its reader elsewhere"


def _hashed(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _links(page: _Page, pack: Pack) -> Iterator[str]:
    """Whether each link leads somewhere, and each file is linked to."""
    targets = [given.get("href") or "" for name, given in page.elements if name == "a"]
    places = {given["id"] for _, given in page.elements if given.get("id")}
    for target in dict.fromkeys(targets):
        if target.startswith("#"):
            if target[1:] not in places:
                yield f"links to {target}, which is not on it"
        elif not target.startswith("mailto:") and target not in pack:
            yield f"links to {target}, which is not in the pack"
    for path in sorted(set(pack) - set(targets) - {PAGE}):
        yield f"does not list {path}"


def _readable(page: _Page) -> Iterator[str]:
    """Whether somebody who does not see it can read it."""
    for tag, count in Counter(page.unnamed).items():
        yield f"{count} of its elements '{tag}' have no {'title' if tag == 'svg' else 'caption'}"
    if page.unclosed:
        yield f"the element '{page.unclosed[0]}' does not end where it should"
    if not any(name == "html" and given.get("lang") for name, given in page.elements):
        yield "does not say its language"
    if any(
        name == "svg" and given.get("role") != "img" and given.get("aria-hidden") != "true"
        for name, given in page.elements
    ):
        yield "has a drawing that is neither named nor hidden"
    levels = [int(name[1]) for name, _ in page.elements if name in ("h1", "h2", "h3", "h4")]
    if levels.count(1) != 1 or any(after > before + 1 for before, after in itertools.pairwise(levels)):
        yield "its headings are not one h1 with h2 and h3 below"
    ids = Counter(given["id"] for _, given in page.elements if given.get("id"))
    yield from (f"the id '{one}' is there twice" for one, count in ids.items() if count > 1)


def _says(page: _Page, described: dict[str, Any]) -> Iterator[str]:
    """Whether it says what no release may leave out."""
    release, privacy = described["release"], described["privacy"]
    said = " ".join(page.words.split())
    needed = {
        "the release's SHA-256": privacy["release_sha256"],
        "the head of the ledger": privacy["ledger_head"],
        "ρ": f"ρ = {release['rho']:g}",
        "ε": f"ε = {release['epsilon']:.3g}",
        "the publisher": " ".join(described["publisher"]["name"].split()),
        **{f"the licence {licence.identifier}": licence.identifier for licence in LICENCES},
        **{f"the caveat '{caveat}'": caveat for caveat in _CAVEATS},
    }
    yield from (f"does not say {what}" for what, words in needed.items() if words not in said)
    if [" ".join(one.split()) for one in page.parts["h1"]] != [described["title"]]:
        yield "its heading is not the title"
    if ("Synthetic: these figures" in said) != release["synthetic"]:
        yield "does not say at its head whether the release is synthetic"
