"""Simple English for the tiny model: an endless, seeded stream of short texts drawn from our own grammar.

The sentences are in ``grammar/*.txt``; this module only expands them. Three ideas are the whole notation:

- ``@rule`` starts a rule, whose lines are alternatives; ``{rule}`` draws one (a new one each time, while there are
  any), and ``[one|two|]`` chooses in place.
- ``{name:rule}`` draws once and remembers: a later ``{name}`` repeats it, so a red kite stays a red kite.
- ``@@table: x / y`` starts a table; ``{table!}`` draws one row and remembers ``{x}`` and ``{y}`` together, so
  that a trouble comes with the help that fits it.

A capital first letter (``{A.he}``) capitalises what is drawn. Run this file to read some samples.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

GRAMMAR_DIR = Path(__file__).with_name("grammar")

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([\w.]+)(!|:\w+)?\}")
_PRONOUNS = {"he": ("he", "him", "his", "himself"), "she": ("she", "her", "her", "herself")}
_SENTENCE_START = re.compile(r'(^|\n|[.!?] |\." )("?)([a-z])')
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIO])(?!use|uni|one|once)")


@dataclass(frozen=True)
class Grammar:
    """The rules and tables of every file in ``grammar/``."""

    rules: dict[str, list[str]]
    tables: dict[str, list[dict[str, str]]]


@cache
def load_grammar() -> Grammar:
    """Read ``grammar/*.txt``; a line that is in no rule raises."""
    rules: dict[str, list[str]] = {}
    tables: dict[str, list[dict[str, str]]] = {}
    for path in sorted(GRAMMAR_DIR.glob("*.txt")):
        add: Callable[[str], None] | None = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("@@"):
                add = _table_adder(tables, line)
            elif line.startswith("@"):
                add = rules.setdefault(line[1:].strip(), []).append
            elif line.strip() and not line.startswith("#"):
                if add is None:
                    raise ValueError(f"{path.name}: text before the first rule: {line!r}")
                add(line.strip().replace("\\n", "\n"))
    return Grammar(rules, tables)


def _table_adder(tables: dict[str, list[dict[str, str]]], header: str) -> Callable[[str], None]:
    name, _, columns = header[2:].partition(":")
    fields = [column.strip() for column in columns.split("/")]
    rows = tables.setdefault(name.strip(), [])

    def add(line: str) -> None:
        cells = [cell.strip() for cell in line.split(" / ")]
        if len(cells) != len(fields):
            raise ValueError(f"table {name}: {len(fields)} cells expected in {line!r}")
        rows.append(dict(zip(fields, cells, strict=True)))

    return add


@dataclass
class Writer:
    """One text in the making: its source of chance and what it has settled so far."""

    rng: random.Random
    grammar: Grammar = field(default_factory=load_grammar)
    known: dict[str, str] = field(default_factory=dict)
    drawn: dict[str, list[int]] = field(default_factory=dict)

    def expand(self, text: str) -> str:
        """Return ``text`` with its choices made and its slots filled, from left to right."""
        while "[" in text:
            text = _CHOICE.sub(lambda m: self.rng.choice(m[1].split("|")), text)
        return _SLOT.sub(self._fill, text)

    def _fill(self, match: re.Match[str]) -> str:
        name, action = match[1], match[2] or ""
        key = name[0].lower() + name[1:]
        if action == "!":
            rows = self.grammar.tables[key]
            self.known.update(rows[self._unused(key, len(rows))])
            return ""
        if action and key not in self.known:
            self.known[key] = self._draw(action[1:])
        value = self.expand(self.known[key]) if key in self.known else self._draw(key)
        return value[:1].upper() + value[1:] if name[0].isupper() else value

    def _draw(self, rule: str) -> str:
        lines = self.grammar.rules[rule]
        return self.expand(lines[self._unused(rule, len(lines))])

    def _unused(self, rule: str, count: int) -> int:
        """Return the number of a line that this text has not used yet, or of any line when all are used."""
        used = self.drawn.setdefault(rule, [])
        if len(used) == count:
            used.clear()
        used.append(self.rng.choice([i for i in range(count) if i not in used]))
        return used[-1]

    def cast(self) -> None:
        """Choose the hero ``a``, the friend ``b`` and the elder ``c``: all animals, or all people."""
        animals = self.rng.random() < 0.55
        names: list[str] = []
        kinds: list[str] = []
        for role in "abc":
            he = self.rng.choice(("he", "she"))
            name = self._fresh(f"name_{he}", names)
            if animals:
                self._cast_animal(role, name, kinds)
            else:
                self._cast_person(role, name, he)
            for form, word in zip(("he", "him", "his", "self"), _PRONOUNS[he], strict=True):
                self.known[f"{role}.{form}"] = word

    def _fresh(self, rule: str, used: list[str]) -> str:
        used.append(self.rng.choice([name for name in self.grammar.rules[rule] if name not in used]))
        return used[-1]

    def _cast_animal(self, role: str, name: str, used: list[str]) -> None:
        rows = [row for row in self.grammar.tables["animal"] if row["kind"] not in used]
        row = self.rng.choice(rows)
        used.append(row["kind"])
        size = self._draw("elder_size" if role == "c" else "young_size")
        the, named = f"the {size} {row['kind']}", self.rng.random() < 0.6
        self.known |= {f"{role}.{key}": value for key, value in row.items()}
        self.known |= {
            role: name if named else the,
            f"{role}.name": name,
            f"{role}.call": name if named else f"{size} {row['kind']}",
            f"{role}.ref": f"[{name if named else the}|the {row['kind']}]",
            f"{role}.intro": f"a {size} {row['kind']}" + (f" [named|called] {name}" if named else ""),
        }

    def _cast_person(self, role: str, name: str, he: str) -> None:
        kind = self._draw(f"{'elder' if role == 'c' else 'young'}_{he}")
        self.known |= {
            role: name,
            f"{role}.name": name,
            f"{role}.call": name,
            f"{role}.ref": name,
            f"{role}.kind": kind,
            f"{role}.intro": f"a {self._draw('person_trait')} {kind} [named|called] {name}",
            f"{role}.home": self._draw("house"),
            f"{role}.food": self._draw("meal"),
        }


def tidy(text: str) -> str:
    """Return ``text`` with single spaces, ``an`` before vowels, and a capital at each sentence's start."""
    text = re.sub(r" +", " ", text)
    text = re.sub(r" ([.,!?;:])", r"\1", text)
    text = re.sub(r" *\n *", "\n", text).strip()
    text = re.sub(r'([?!]")\.', r"\1", re.sub(r'(\w)"\.', r'\1."', text))
    text = _ARTICLE.sub(r"\1n ", text)
    return _SENTENCE_START.sub(lambda m: m[1] + m[2] + m[3].upper(), text)


def document(rng: random.Random) -> str:
    """Return one text: a story, a description, a how-to, an explanation, questions, a letter or a talk."""
    writer = Writer(rng)
    writer.cast()
    return tidy(writer.expand("{document}"))


def story(rng: random.Random) -> str:
    """Return one story."""
    writer = Writer(rng)
    writer.cast()
    return tidy(writer.expand("{story}"))


def documents(seed: int) -> Iterator[str]:
    """Yield texts without end, the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311  (chance for prose, not for secrets)
    while True:
        yield document(rng)


def characters(seed: int, count: int) -> list[str]:
    """Return texts of ``seed`` until they hold ``count`` characters."""
    texts: list[str] = []
    for text in documents(seed):
        texts.append(text)
        count -= len(text)
        if count <= 0:
            return texts
    raise AssertionError("documents never ends")


if __name__ == "__main__":
    stream = documents(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    for _ in range(12):
        print(next(stream), end="\n\n---\n\n")
