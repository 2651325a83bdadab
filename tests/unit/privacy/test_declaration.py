"""All that may leave, and what has changed of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.declaration import declaration, difference, terms
from metavox_privacy.fields import Choice, Dimension, Metric, Range, Table
from metavox_privacy.notice import LANGUAGES, QUESTIONS, Language, notice
from metavox_privacy.schema import SCHEMA, Schema

WORDS = ("alpha", "beta", "gamma", "delta")


def changed(where: str, name: str, **parts: Any) -> Schema:
    """The schema with parts of one field, metric or table changed."""
    some = getattr(SCHEMA, where)
    return replace(SCHEMA, **{where: tuple(replace(one, **parts) if one.name == name else one for one in some)})


def lines(after: Schema, before: Schema = SCHEMA) -> list[str]:
    return difference(declaration(before), declaration(after))


def choice(names: tuple[str, ...], **aliases: str) -> Choice:
    return replace(SCHEMA.dimension["engine"].kind, names=names, aliases=aliases)  # type: ignore[type-var]


SHARE = SCHEMA.tables[0].metrics["error_rate"]
ENGINES: tuple[str, ...] = SCHEMA.dimension["engine"].kind.names  # type: ignore[union-attr]


def test_the_declaration_names_all_that_may_leave_and_why_as_plain_data():
    found = declaration(SCHEMA)

    assert json.loads(json.dumps(found)) == found
    for dimension in SCHEMA.dimensions:
        assert found["fields"][dimension.name]["words"] == list(dimension.vocabulary)
        assert found["fields"][dimension.name]["reason"] == dimension.reason
    for metric in SCHEMA.metrics:
        assert found["metrics"][metric.name]["edges"] == list(metric.edges)
        assert found["metrics"][metric.name]["unit"] == metric.unit
    assert (found["schema_version"], found["cells_per_report"], found["units"]) == (SCHEMA.version, 4, 256)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_terms_are_the_declaration_and_every_word_that_is_shown(language: Language):
    found = terms(SCHEMA, language)
    shown = "".join(notice(SCHEMA, language).split())

    assert found.items() >= declaration(SCHEMA).items()
    assert "".join("".join(found["notice"]).replace(": ", "").split()).startswith(shown[:7])
    assert found["notice"][-2:] == list(QUESTIONS[language].values())


def test_what_is_the_same_has_no_difference():
    assert difference(declaration(SCHEMA), declaration(SCHEMA)) == []
    again = json.loads(json.dumps(terms(SCHEMA, "it")))
    assert difference(again, terms(SCHEMA, "it")) == []


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (replace(SCHEMA, version=3), ["~ version of the list: 2 -> 3"]),
        (replace(SCHEMA, cells_per_report=5), ["~ combinations in a report: 4 -> 5"]),
        (replace(SCHEMA, units=512), ["~ units of a histogram: 256 -> 512"]),
        (replace(SCHEMA, dimensions=SCHEMA.dimensions[:-1]), ["- field streaming"]),
        (replace(SCHEMA, metrics=SCHEMA.metrics[1:]), ["- metric time_to_first_token"]),
        (replace(SCHEMA, tables=SCHEMA.tables[:-1]), ["- table workload"]),
        (replace(SCHEMA, coarse_tables=SCHEMA.coarse_tables[:-1]), ["- table for a small fleet workload"]),
        (
            replace(SCHEMA, tables=(replace(SCHEMA.tables[0], metrics={"error_rate": 7, "new": 3}),)),
            [
                "- table performance: metric 'time_to_first_token'",
                "- table performance: metric 'time_per_output_token'",
                "- table performance: metric 'peak_device_memory'",
                f"~ table performance: metric 'error_rate' {SHARE} -> 7 thousandths of the budget",
                "+ table performance: metric 'new', 3 thousandths of the budget",
                *(f"- table {name}" for name in ("hardware", "models", "software", "workload")),
            ],
        ),
        (replace(SCHEMA, dimensions=SCHEMA.dimensions[::-1]), ["~ the order of the fields"]),
        (replace(SCHEMA, metrics=SCHEMA.metrics[::-1]), ["~ the order of the metrics"]),
        (
            changed("dimensions", "engine", kind=choice(("mistral.rs", *ENGINES[1:]))),
            ["- field engine: word 'metavox'", "+ field engine: word 'mistral.rs'"],
        ),
        (changed("dimensions", "engine", kind=choice(ENGINES[::-1])), ["~ field engine: the order of its words"]),
        (
            changed("dimensions", "engine", kind=choice(ENGINES, **{"llama-cpp": "llama.cpp"})),
            ["+ field engine: 'llama-cpp' counts as 'llama.cpp'"],
        ),
        (
            changed("dimensions", "engine", kind=replace(choice(ENGINES), version_parts=2)),
            ["~ field engine: version_parts 0 -> 2"],
        ),
        (changed("dimensions", "os", source="host.name"), ["~ field os: source os.type -> host.name"]),
        (changed("dimensions", "os", purposes=("improve",)), ["- field os: purpose 'publish'"]),
        (changed("dimensions", "os", expires=date(2030, 1, 1)), ["~ field os: expires 2027-12-31 -> 2030-01-01"]),
        (
            changed("dimensions", "concurrency", kind=Range((1, 8))),
            [
                *(f"- field concurrency: word '{word}'" for word in ("2-4", "5-16", "17-64", ">64")),
                *(f"+ field concurrency: word '{word}'" for word in ("2-8", ">8")),
                *(f"- field concurrency: edge '{edge}'" for edge in (4, 16, 64)),
                "+ field concurrency: edge '8'",
            ],
        ),
        (
            changed("dimensions", "concurrency", kind=Range((1, 4, 16, 64), "", 2)),
            ["~ field concurrency: scale 1 -> 2"],
        ),
        (
            changed("metrics", "time_to_first_token", unit="ms"),
            ["~ metric time_to_first_token: unit s -> ms"],
        ),
        (
            changed("metrics", "time_to_first_token", edges=(1.0, 2.0)),
            [
                "~ metric time_to_first_token: {} -> {}".format(
                    "64 buckets with edges from 0.001 to 120", "3 buckets with edges from 1 to 2"
                )
            ],
        ),
        (
            changed("metrics", "error_rate", edges=tuple(float(n) for n in range(20))),
            ["~ metric error_rate: 2 buckets, absent and present -> 21 buckets with edges from 0 to 19"],
        ),
        (
            changed("tables", "models", dimensions=("model", "architecture")),
            ["- table models: field 'parameters'"],
        ),
        (
            changed("tables", "models", reason="Which?"),
            ["~ table models: reason Which models do people run? -> Which?"],
        ),
    ],
)
def test_each_change_is_said_exactly(after: Schema, expected: list[str]):
    assert lines(after) == expected


def test_a_new_field_comes_with_its_reason():
    new = replace(SCHEMA.dimensions[0], name="colour", reason="because")

    assert lines(replace(SCHEMA, dimensions=(*SCHEMA.dimensions, new))) == ["+ field colour: because"]


def test_a_changed_paragraph_is_there_as_it_was_and_as_it_is():
    after = terms(replace(SCHEMA, dimensions=SCHEMA.dimensions[:-1]), "en")
    found = difference(terms(SCHEMA, "en"), after)

    assert [line[:7] for line in found] == ["- field", "- What:", "+ What:"]
    assert "streaming" in found[1]
    assert "streaming" not in found[2]


def test_a_spelling_that_counts_as_another_word_is_said_from_both_sides():
    before = changed("dimensions", "engine", kind=choice(ENGINES, a="vllm", b="vllm"))
    after = changed("dimensions", "engine", kind=choice(ENGINES, a="mlx"))

    assert lines(after, before) == [
        "- field engine: 'a' counted as 'vllm'",
        "+ field engine: 'a' counts as 'mlx'",
        "- field engine: 'b' counted as 'vllm'",
    ]


words = st.lists(st.sampled_from(WORDS), min_size=1, unique=True).map(tuple)
edges = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=4, unique=True).map(
    lambda some: tuple(sorted(some))
)
text = st.sampled_from(WORDS)
purposes = st.sampled_from([("improve",), ("publish",), ("improve", "publish")])
choices = st.builds(Choice, words, st.dictionaries(text, text), st.integers(0, 2))
ranges = st.builds(Range, edges, text, st.sampled_from([1.0, 2.0]))
days = st.dates(date(2026, 1, 1), date(2026, 1, 3))
dimensions = st.builds(Dimension, text, text, text, choices | ranges, text, text, days, purposes)
metrics = st.builds(Metric, text, text, text, edges | st.just(()), text, text, text, days, purposes)
shares = st.dictionaries(text, st.integers(0, 2), max_size=2)
tables = st.builds(Table, text, words, shares, st.integers(0, 2), text)


def by_name(some: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(some, max_size=2, unique_by=lambda one: one.name).map(tuple)


schemas = st.builds(
    Schema,
    st.integers(1, 2),
    by_name(dimensions),
    by_name(metrics),
    by_name(tables),
    by_name(tables),
    st.integers(4, 5),
    st.just(256),
)


@given(schemas, schemas)
def test_whatever_pauses_a_yes_shows_in_the_difference(before: Schema, after: Schema):
    is_same = before.fingerprint == after.fingerprint

    assert (lines(after, before) == []) == is_same
    assert all(line[:2] in ("+ ", "- ", "~ ") for line in lines(after, before))


@pytest.mark.parametrize("kind", [Dimension, Metric, Table, Choice, Range], ids=lambda kind: kind.__name__)
def test_the_declaration_has_every_part_that_is_declared(kind: Callable[..., Any]):
    found = json.dumps(declaration(SCHEMA))
    held = {"name", "kind", "names"}  # by which a field stands, what is flattened, and what is among the words

    for part in fields(kind):  # type: ignore[arg-type]
        assert part.name in held or f'"{part.name}":' in found
