"""The question in a notebook: the notice, two boxes that nobody has ticked, and two buttons.

The panel appears on an explicit call alone, records when a button is clicked, and by being closed, left or
never looked at records nothing.
"""

from __future__ import annotations

import html
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets  # type: ignore[import-untyped]

from metavox.errors import MetaVoxError
from metavox.telemetry.question.wording import WORDING
from metavox.telemetry.upload.readable import as_text
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import QUESTIONS, Language, notice
from metavox_privacy.schema import Schema

if TYPE_CHECKING:
    from metavox.telemetry.question.ask import Example

Finish = Callable[[frozenset[Purpose] | None], str]
"""Writes down what was agreed to, None being a "not now", and says in a sentence what it means."""


class Panel:
    """The widgets, before they are displayed.

    Args:
        finish: Writes the answer down; what it raises is told in its place.
        example: The bytes to show.
        schema: The list to show.
        language: The language of all words.
        has_said_yes: Whether an earlier yes is in force, which saving two empty boxes takes back.

    Attributes:
        boxes: The box of each purpose.
        save: The button that records the boxes as they are.
        later: The button that says "not now".
        said: Where the outcome is told.
        whole: All of it, to be displayed.
    """

    def __init__(
        self, finish: Finish, example: Example, schema: Schema, language: Language, *, has_said_yes: bool
    ) -> None:
        words = WORDING[language]
        self._write = finish
        self.boxes: dict[Purpose, ipywidgets.Checkbox] = {
            purpose: ipywidgets.Checkbox(
                value=False, description=question, indent=False, layout=ipywidgets.Layout(width="auto")
            )
            for purpose, question in QUESTIONS[language].items()
        }
        self.save = _button(words.save, lambda: self._finish(self._ticked()))
        self.later = _button(words.later, lambda: self._finish(None))
        self.said = ipywidgets.HTML(_paragraph(words.take_back) if has_said_yes else "")
        self.whole = ipywidgets.VBox(
            [
                ipywidgets.HTML(as_html(notice(schema, language))),
                _bytes(example(frozenset(PURPOSES)), words.bytes_title),
                *self.boxes.values(),
                ipywidgets.HBox([self.save, self.later]),
                self.said,
            ]
        )

    def _ticked(self) -> frozenset[Purpose]:
        return frozenset(purpose for purpose, box in self.boxes.items() if box.value)

    def _finish(self, purposes: frozenset[Purpose] | None) -> None:
        """Record, say what came of it, and take no second answer; a callback must not raise."""
        try:
            said = self._write(purposes)
        except (MetaVoxError, OSError, sqlite3.Error) as error:
            said = str(error)
        for widget in (*self.boxes.values(), self.save, self.later):
            widget.disabled = True
        self.said.value = _paragraph(said)


def as_html(text: str) -> str:
    """The notice as a table of headings and paragraphs."""
    rows = (line.partition("\t") for line in text.splitlines())
    cells = (
        f"<tr><td><b>{html.escape(heading)}</b></td><td>{html.escape(words)}</td></tr>"
        for heading, _, words in rows
    )
    return f"<table>{''.join(cells)}</table>"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _button(text: str, click: Callable[[], None]) -> ipywidgets.Button:
    button = ipywidgets.Button(description=text, layout=ipywidgets.Layout(width="auto"))
    button.on_click(lambda _: click())
    return button


def _bytes(body: bytes | None, title: str) -> ipywidgets.Accordion:
    shown = "" if body is None else f"<pre>{html.escape(as_text(body))}</pre>"
    return ipywidgets.Accordion([ipywidgets.HTML(shown)], titles=[title], selected_index=None)
