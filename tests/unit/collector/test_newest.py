from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace

import pytest

from metavox_collector.clock import fixed
from metavox_collector.close import close_week
from metavox_collector.dataset import newest as dataset
from metavox_collector.dataset.code import this_code
from metavox_collector.dataset.model import Publisher, dataset_of
from metavox_collector.dataset.newest import newest, zipped_file
from metavox_collector.endpoints.cached import Cached
from metavox_collector.estimate import estimate
from metavox_collector.store import Database, LabelledRelease
from metavox_privacy.budget import AlreadyReleased
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import SPREAD, spread, spread_buckets
from tests.spans import WEEK, table
from tests.unit.collector.releases import AFTER, CAP, NEXT, generous, released, stage_fleet
from tests.unit.collector.test_app import ask, make_app  # noqa: F401  # make_app is a fixture

PATH = "/v1/releases/latest"
PUBLISHER = Publisher("Example", "Example Street 1", "IT", "data@example.org", None, None)
SCALE = 1000.0


def labelled(number: int, signal: int = 60_000) -> LabelledRelease:
    """A release of so many cells, each with noise around a signal some buckets wide."""
    chance = random.Random(5)
    keys = [(a, m, "bfloat16", "<=1") for a in SCHEMA.dimension["accelerator"].vocabulary for m in _models()]
    cells = []
    for key in keys[:number]:
        histograms = {}
        for metric in SCHEMA.metrics:
            third = range(metric.buckets // 3, metric.buckets // 2 + 1)
            units = [signal // 10 * (bucket in third) for bucket in range(metric.buckets)]
            noise = (round(chance.gauss(0, SCALE * SPREAD)) for _ in range(spread_buckets(metric)))
            histograms[metric.name] = tuple(a + b for a, b in zip(spread(units, metric), noise, strict=True))
        cells.append(ReleasedCell(key, 300, histograms))
    scales = dict.fromkeys(SCHEMA.metric, SCALE * SPREAD)
    dimensions = table("performance").dimensions
    made = ReleasedTable("performance", dimensions, 1000, 40.0, scales, 200, tuple(cells))
    release = Release(WEEK, 1, "publish", "full", SCHEMA.version, 10**7, (made,))
    return LabelledRelease(release, synthetic=False)


def _models() -> tuple[str, ...]:
    return SCHEMA.dimension["model"].vocabulary


@pytest.fixture
def app(make_app, url, schema, database):  # noqa: F811
    released(database, url)
    return make_app(generous(url), clock=fixed(AFTER), schema=schema)


def test_before_the_first_release_there_is_none(make_app, settings, schema):  # noqa: F811
    response = ask(make_app(settings, schema=schema), "GET", PATH)
    assert (response.status_code, response.json()) == (404, {"error": "nothing is released yet"})


def test_the_newest_release_for_publish_is_answered(app, database, url, schema):
    found = ask(app, "GET", PATH).json()
    assert (found["format"], found["week"], found["purpose"]) == (1, str(WEEK), "publish")
    assert found["synthetic"] is False
    assert found["dimensions"] == list(table("performance").dimensions)
    stage_fleet(database, 40, week=NEXT)
    close_week(database, NEXT, generous(url), now=NEXT.end + (AFTER - WEEK.end))
    assert ask(app, "GET", PATH).json()["week"] == str(NEXT)


def test_a_release_under_another_schema_is_not_answered_for_one_under_this(make_app, database, url, schema):  # noqa: F811
    released(database, url)
    database.dispose()
    other = make_app(generous(url), schema=replace(schema, version=schema.version + 1))
    assert ask(other, "GET", PATH).status_code == 404


def test_what_was_made_in_a_sandbox_says_so(make_app, url, schema):  # noqa: F811
    sandbox = Database.create(url, schema, sandbox=True, yearly_cap=CAP)
    released(sandbox, url, synthetic=True)
    sandbox.dispose()
    app = make_app(generous(url, sandbox=True), schema=schema)
    assert ask(app, "GET", PATH).json()["synthetic"] is True


def test_figures_are_those_of_the_dataset(app, database, schema):
    cells = ask(app, "GET", PATH).json()["cells"]
    with database.read() as transaction:
        kept = transaction.release(WEEK, "publish")
        history = transaction.ledger()
    made = dataset_of(kept, history, schema, publisher=PUBLISHER, issued=AFTER.date(), code=this_code())
    rows = [row for row in made.table("performance").rows if row["metric"] in dataset.METRICS]
    assert len(rows) == 2 * len(cells) > 0
    for row in rows:
        (cell,) = [c for c in cells if c["key"] == [row[name] for name in table("performance").dimensions]]
        given = cell[row["metric"]]
        assert cell["contributors"] == row["contributors"]
        for name in ("p50", "p75", "p90", "p95", "p99"):
            assert given[name] == pytest.approx(row[name], rel=1e-3)
        first, units = given["first_bucket"], given["histogram"]
        assert units[0] > 0 < units[-1]
        whole = row["contributors"] * schema.units
        shares = row["histogram"][first : first + len(units)]
        assert units == [round(share * whole) for share in shares]
        assert sum(units) == pytest.approx(whole, rel=0.01)


def test_what_the_noise_hides_is_null():
    (cell,) = newest(labelled(1, signal=0), SCHEMA)["cells"]
    for name in dataset.METRICS:
        assert set(cell[name].values()) == {None}
    (cell,) = newest(labelled(1, signal=20_000), SCHEMA)["cells"]
    assert cell["time_to_first_token"]["p50"] is not None
    assert cell["time_to_first_token"]["p99"] is None


def alike(histograms):
    """Thousands of estimates that are quick: the first of each metric stands for all."""
    jobs = list(histograms)
    found = {metric.name: estimate(metric, *drawn) for metric, *drawn in jobs[: len(dataset.METRICS)]}
    return [found[metric.name] for metric, *_ in jobs]


def test_a_file_of_two_thousand_cells_is_small(monkeypatch):
    monkeypatch.setattr(dataset, "estimate_all", alike)
    made = Cached.of_zipped(zipped_file(labelled(2000), SCHEMA))
    assert len(json.loads(made.body)["cells"]) == 2000
    assert len(made.body) < 1_300_000
    assert len(made.zipped) < 250_000
    assert gzip.decompress(made.zipped) == made.body


def test_a_file_is_bounded_and_says_what_it_leaves_out(monkeypatch):
    monkeypatch.setattr(dataset, "estimate_all", alike)
    many = labelled(dataset.MOST_CELLS + 7)
    given = newest(many, SCHEMA)
    assert (len(given["cells"]), given["cells_left_out"]) == (dataset.MOST_CELLS, 7)
    # Millions of installations, of which each bucket of every histogram has some: what no fleet is like.
    wide = {m.name: tuple(spread((256 * 10**6,) * m.buckets, m)) for m in SCHEMA.metrics}
    (performance,) = many.release.tables
    full = replace(performance, cells=tuple(replace(cell, histograms=wide) for cell in performance.cells))
    largest = replace(many, release=replace(many.release, tables=(full,)))
    assert len(gzip.decompress(zipped_file(largest, SCHEMA))) < 2**22


@pytest.mark.parametrize(
    ("header", "zipped"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("", False),
    ],
)
def test_it_is_zipped_for_those_who_take_that(app, header, zipped):
    response = ask(app, "GET", PATH, headers={"Accept-Encoding": header})
    assert ("content-encoding" in response.headers) is zipped
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.json()["format"] == 1


def test_who_has_it_already_is_told_in_no_bytes(app):
    first = ask(app, "GET", PATH)
    assert first.headers["cache-control"] == "public, max-age=3600"
    for known in (first.headers["etag"], '"x", ' + first.headers["etag"], "*", first.headers["etag"][2:]):
        again = ask(app, "GET", PATH, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert ask(app, "GET", PATH, headers={"If-None-Match": '"another"'}).status_code == 200


def test_it_is_unzipped_once(app, monkeypatch):
    made = []
    of_zipped = Cached.of_zipped
    monkeypatch.setattr(Cached, "of_zipped", lambda zipped: made.append(zipped) or of_zipped(zipped))
    assert ask(app, "GET", PATH).content == ask(app, "GET", PATH).content
    assert len(made) == 1


def test_a_file_that_a_close_left_unmade_is_made_by_the_next_one(database, url, app):
    first = ask(app, "GET", PATH).content
    with database.write() as transaction:
        transaction.connection.exec_driver_sql("DELETE FROM newest_file")
    assert ask(app, "GET", PATH).status_code == 404
    with pytest.raises(AlreadyReleased):
        close_week(database, WEEK, generous(url), now=AFTER)
    assert ask(app, "GET", PATH).content == first


def test_it_can_be_read_and_nothing_else(app):
    assert ask(app, "HEAD", PATH).status_code == 200
    response = ask(app, "POST", PATH)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
