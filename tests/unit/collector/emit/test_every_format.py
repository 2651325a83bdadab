"""What holds of all formats: for every kind of release, and whatever somebody puts in a file's place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metavox_collector.dataset import emit
from metavox_collector.dataset.checks import card, croissant, csv, datasheet, dictionary, frictionless, parquet
from metavox_collector.dataset.model import Dataset, Publisher
from metavox_collector.errors import NotAllowed
from metavox_privacy.fields import Purpose, Scope
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.packs import Pack, pack_of

ALWAYS = (csv.validate, dictionary.validate, parquet.validate)
"""What a release for the maintainers has too; the others offer it to somebody."""

CHECKS: Mapping[str, Callable[[Pack], list[str]]] = {
    "card": card.validate,
    "croissant": croissant.validate,
    "csv": csv.validate,
    "datasheet": datasheet.validate,
    "dictionary": dictionary.validate,
    "frictionless": frictionless.validate,
    "parquet": parquet.validate,
}
JSON_FILES = ("data_dictionary.json", "croissant.json", "datapackage.json")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def problems(pack: Pack) -> list[str]:
    return [problem for validate in CHECKS.values() for problem in validate(pack)]


@pytest.mark.parametrize(
    ("scope", "weeks", "purpose", "synthetic"),
    [
        ("full", 4, "publish", False),
        ("coarse", 1, "publish", False),
        ("coarse", 4, "improve", True),
        ("full", 1, "improve", False),
    ],
)
def test_a_release_of_every_kind_passes(scope: Scope, weeks: int, purpose: Purpose, *, synthetic: bool) -> None:
    dataset = example_dataset(scope=scope, weeks=weeks, purpose=purpose, synthetic=synthetic, cells=3)
    pack = pack_of(dataset)
    if purpose == "publish":
        assert problems(pack) == []
        assert [b"ynthetic" in pack[path] for path in ("README.md", "datasheet.md")] == [synthetic] * 2
    else:
        assert [problem for validate in ALWAYS for problem in validate(pack)] == []
        assert json.loads(pack["data_dictionary.json"])["licence"] == "NONE"


@pytest.mark.parametrize(
    "offer",
    [
        emit.card.emit,
        emit.datasheet.emit,
        lambda dataset: emit.croissant.emit(dataset, {}),
        lambda dataset: emit.frictionless.emit(dataset, {}),
    ],
)
def test_what_nobody_agreed_to_publish_is_not_offered(offer: Callable[[Dataset], object]) -> None:
    with pytest.raises(NotAllowed, match="only a release for 'publish'"):
        offer(example_dataset(purpose="improve", cells=1))


def test_a_publisher_needs_no_website() -> None:
    publisher = Publisher("A", "B", None, "c@example.org", None, None)
    pack = pack_of(example_dataset(cells=2, publisher=publisher))
    assert problems(pack) == []
    assert json.loads(pack["croissant.json"])["url"] == "mailto:c@example.org"


def test_a_week_is_not_taken_for_another(pack: Pack) -> None:
    other = pack_of(example_dataset(cells=4, seed=2))
    for path in pack:
        if not path.startswith(("gdpr/", "licences/", "proof/")):
            assert problems({**pack, path: other[path]}), path


@pytest.fixture(scope="module")
def small() -> Pack:
    """A pack that is quick to look at."""
    return pack_of(example_dataset(cells=2))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the list or object, and the index or key."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_place_of_a_document_is_answered_with_words(small: Pack, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(JSON_FILES))
    document = copy.deepcopy(json.loads(small[path]))
    container, key = data.draw(st.sampled_from(list(places(document))))
    container[key] = data.draw(values)
    for name, validate in CHECKS.items():
        found = validate({**small, path: json.dumps(document).encode()})
        assert all(isinstance(one, str) and "\n" not in one for one in found), name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_is_answered_with_words(small: Pack, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(small)))
    position = data.draw(st.integers(0, len(small[path]) - 1))
    byte = data.draw(st.integers(0, 255))
    content = small[path][:position] + bytes([byte]) + small[path][position + 1 :]
    for name, validate in CHECKS.items():
        found = validate({**small, path: content})
        assert all(isinstance(one, str) and "\n" not in one for one in found), name
        if path.startswith(("data/", "csv/")) and content != small[path] and name == "croissant":
            assert any(f"{path} has another sha256" in one for one in found)
