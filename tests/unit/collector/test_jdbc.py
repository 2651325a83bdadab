from __future__ import annotations

import pytest

from metavox_collector.errors import NotAllowed
from metavox_collector.store.jdbc import jdbc_source, slices


def test_a_url_is_told_to_java_with_the_password_apart():
    source = jdbc_source("postgresql+psycopg://fold:se%40cret@db.example:5433/metavox?sslmode=verify-full")
    assert source.url == "jdbc:postgresql://db.example:5433/metavox"
    assert source.properties == {"user": "fold", "password": "se@cret", "sslmode": "verify-full"}
    assert "se@cret" not in repr(source)


def test_a_url_without_a_password_gives_none():
    assert jdbc_source("postgresql://fold@db.example/metavox").properties == {"user": "fold"}


def test_an_ipv6_address_has_its_brackets():
    assert jdbc_source("postgresql://[::1]/metavox").url == "jdbc:postgresql://[::1]:5432/metavox"


def test_the_other_url_is_taken_in_its_place():
    source = jdbc_source(
        "postgresql://metavox@/metavox?host=/run/postgresql", "postgresql://fold@db.example/metavox"
    )
    assert source.url == "jdbc:postgresql://db.example:5432/metavox"


@pytest.mark.parametrize(
    ("db", "other", "said"),
    [
        ("sqlite:///collector.db", None, "--engine sql"),
        ("sqlite:///collector.db", "postgresql://fold@db.example/metavox", "--engine sql"),
        ("postgresql://metavox@/metavox?host=/run/postgresql", None, "METAVOX_COLLECTOR_SPARK_DB"),
        ("postgresql://metavox@db.example", None, "METAVOX_COLLECTOR_SPARK_DB"),
        ("postgresql://metavox@db.example/metavox", "sqlite:///other.db", "METAVOX_COLLECTOR_SPARK_DB"),
        ("postgresql://metavox@db.example/metavox?options=-csearch_path%3Da", None, "the parameter options"),
        ("not a URL", None, "METAVOX_COLLECTOR_SPARK_DB"),
    ],
)
def test_what_other_machines_cannot_reach_is_refused_with_what_to_do(db, other, said):
    with pytest.raises(NotAllowed, match=said):
        jdbc_source(db, other)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 32, 65536])
def test_every_report_is_in_one_slice(number):
    starts = [predicate.split("'")[1] for predicate in slices(number)]
    ends = [predicate.split("'")[3] for predicate in slices(number)[:-1]]
    assert len(starts) == number
    assert starts[0] == "\\x0000"
    assert ends == starts[1:]  # the last has no end
    assert starts == sorted(set(starts))
