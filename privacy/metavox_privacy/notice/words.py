"""What a language has to say before anybody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metavox_privacy.fields import Purpose


@dataclass(frozen=True, slots=True)
class Words:
    """The notice and the questions of one language.

    Attributes:
        paragraphs: Each by its heading; ``{dimensions}`` and ``{metrics}`` stand for the schema's lists.
        questions: One for each purpose; each is answered by itself, and no answer is a no.
        fields: A word for each field of the schema, where it is another one than the field's name.
        choices: What is shown after a question; the capital letter is what Enter means.
        yes: The replies that are a yes, lower case; every other one is a no.
        hint: What is shown between the notice and the questions; ``{example}`` says whose bytes ``p`` shows.
    """

    paragraphs: Mapping[str, str]
    questions: Mapping[Purpose, str]
    fields: Mapping[str, str]
    choices: str
    yes: tuple[str, ...]
    hint: str

    def field(self, name: str) -> str:
        """A field of the schema, in this language."""
        return self.fields.get(name) or name.replace("_", " ")
