import re
from datetime import date, timedelta

import pytest

from metavox_privacy.fields import OTHER, UNKNOWN, Choice
from metavox_privacy.schema import SCHEMA

FINGERPRINTS = {
    1: "d4409fd65ccba30791e849930658b50d01fc0d38800cd859c48095f9f9f58870",
    2: "183dc53e6b3830bd4e133322c9f4c1491a2a4ae6b82a29389a6c34c7bccc416d",
}
"""The declaration of each version. A changed declaration is a new version: add it, never edit one."""

FIELDS = [*SCHEMA.dimensions, *SCHEMA.metrics]
ids = {"ids": lambda field: field.name}


def test_a_change_of_the_schema_is_a_new_version():
    assert FINGERPRINTS[SCHEMA.version] == SCHEMA.fingerprint, (
        "raise Schema.version and record its fingerprint here"
    )


@pytest.mark.parametrize("field", FIELDS, **ids)
def test_every_field_says_why_it_exists_and_until_when(field):
    assert len(field.reason) > 10
    assert field.sensitivity.startswith(("low", "medium"))
    assert field.purposes
    assert date(2026, 1, 1) < field.expires < date(2026, 11, 1) + timedelta(days=3 * 365)


def test_names_and_attributes_are_unique_and_fit_sql():
    assert len({field.name for field in FIELDS}) == len(FIELDS) == len({field.attribute for field in FIELDS})
    assert all(re.fullmatch(r"[a-z][a-z_]*", field.name) for field in FIELDS)


@pytest.mark.parametrize("dimension", SCHEMA.dimensions, **ids)
def test_every_vocabulary_is_closed_short_and_ascii(dimension):
    words = dimension.vocabulary
    assert len(set(words)) == len(words) <= 400
    assert words[-1] == UNKNOWN
    assert all(word.isascii() and 0 < len(word) <= 60 for word in words)


@pytest.mark.parametrize("dimension", SCHEMA.dimensions, **ids)
def test_whatever_a_span_holds_becomes_a_word_of_the_vocabulary(dimension):
    for value in (
        None,
        "",
        "x" * 500,
        "/home/ada/secret",
        True,
        False,
        0,
        -1,
        3.7,
        float("nan"),
        float("inf"),
        ["a"],
    ):
        assert dimension.kind.classify(value) in dimension.vocabulary


def test_every_dimension_is_released_in_some_table_or_it_would_not_be_needed():
    assert {name for table in SCHEMA.tables for name in table.dimensions} == set(SCHEMA.dimension)
    assert {name for table in SCHEMA.tables for name in table.metrics} == set(SCHEMA.metric)


def test_the_tables_share_exactly_the_whole_budget():
    for scope in ("full", "coarse"):
        tables = SCHEMA.in_scope(scope)
        assert sum(table.permille for table in tables) == 1000
        assert all(share > 0 for table in tables for share in (table.count_permille, *table.metrics.values()))


def test_the_coarse_tables_answer_the_same_questions_with_fewer_words():
    for coarse, full in zip(SCHEMA.coarse_tables, SCHEMA.tables, strict=True):
        assert (coarse.name, coarse.reason) == (full.name, full.reason)
        assert set(coarse.dimensions) <= set(full.dimensions)
        assert set(coarse.metrics) <= set(full.metrics)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100"),
        ("nvidia geforce rtx 4090", "NVIDIA GeForce RTX 4090"),
        ("Apple M4 Max", "Apple M4 Pro, Max or Ultra"),
        ("GPU of my own making", OTHER),
    ],
)
def test_devices_are_named_as_the_catalog_names_them(spelling, name):
    assert SCHEMA.dimension["accelerator"].kind.classify(spelling) == name


def test_versions_lose_what_is_finer_than_declared():
    assert SCHEMA.dimension["driver_major"].kind.classify("535.104.05") == "535"
    assert SCHEMA.dimension["driver_major"].kind.classify("576.02") == "576"
    assert SCHEMA.dimension["engine_version"].kind.classify("0.1.7.dev3+gabcdef") == "0.1"
    assert SCHEMA.dimension["engine_version"].kind.classify("0.1-mycompany") == OTHER


def test_an_alias_never_points_outside_its_vocabulary():
    for dimension in SCHEMA.dimensions:
        if isinstance(dimension.kind, Choice):
            assert set(dimension.kind.aliases.values()) <= set(dimension.kind.names)
