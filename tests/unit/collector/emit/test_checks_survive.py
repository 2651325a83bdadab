"""A check says what is wrong of whatever bytes it is given; it never fails itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_collector.dataset.checks import contract, dcat, licences, listing
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.datasets import PUBLISHER, example_dataset
from tests.unit.collector.emit.offers import offer_of
from tests.unit.collector.emit.packs import Pack

SEEDED = """
import hashlib
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.offers import offer_of
pack = offer_of(example_dataset(scope="coarse", cells=1))
print(hashlib.sha256(repr(sorted(pack.items())).encode()).hexdigest())
"""

CHECKS: dict[str, Callable[[Pack], list[str]]] = {
    "dcat.ttl": dcat.validate,
    "contract.odcs.yaml": contract.validate,
    "licences/odrl.ttl": licences.validate,
    "licences/commercial.md": licences.validate,
    "listing/listing.yaml": listing.validate,
    "listing/snowflake.yaml": listing.validate,
    "listing/google.json": listing.validate,
}


@pytest.fixture(scope="module")
def small() -> Pack:
    dataset: Dataset = example_dataset(scope="coarse", cells=1)
    return offer_of(dataset)


@pytest.mark.parametrize("path", CHECKS)
@settings(max_examples=20, deadline=None)
@given(at=st.floats(0, 1), put=st.binary(max_size=4), gone=st.integers(0, 4))
def test_damaged_bytes_are_problems_and_no_failure(
    small: Pack, path: str, at: float, put: bytes, gone: int
) -> None:
    content = small[path]
    start = int(at * len(content))
    problems = CHECKS[path]({**small, path: content[:start] + put + content[start + gone :]})
    assert all(isinstance(problem, str) and "\n" not in problem for problem in problems)


@pytest.mark.parametrize("path", CHECKS)
@settings(max_examples=15, deadline=None)
@given(content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_foreign_bytes_are_a_problem_of_that_file(small: Pack, path: str, content: bytes) -> None:
    problems = CHECKS[path]({**small, path: content})
    assert any(path in problem for problem in problems)


def test_what_is_of_another_release_is_found_in_every_file(small: Pack) -> None:
    """But for what all releases share: the licences, the queries, and what names no figure."""
    other = offer_of(example_dataset(scope="coarse", cells=2, seed=2, publisher=replace(PUBLISHER, name="Other")))
    differing = [path for path in small if path in other and other[path] != small[path]]
    everything = {dcat.validate, contract.validate, licences.validate, listing.validate}
    for path in differing:
        swapped = {**small, path: other[path]}
        assert [problem for validate in everything for problem in validate(swapped)], path
    assert {"dcat.ttl", "contract.odcs.yaml", "licences/odrl.ttl", "licences/commercial.md"} <= set(differing)


def test_the_bytes_do_not_depend_on_how_python_hashes() -> None:
    """Graphs are sets: what is written must be sorted, or a pack could not be made again."""
    made = {
        subprocess.run(
            [sys.executable, "-c", SEEDED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1
