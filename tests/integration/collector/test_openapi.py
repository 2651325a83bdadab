"""The service does what /openapi.json says, for what it describes and for what it forbids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from metavox_collector.endpoints.openapi import document
from metavox_collector.receive import Limits
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import Collector, collector
from tests.spans import example_report

REPORTS = [encode([example_report(token=bytes([number]), synthetic=True)], SCHEMA) for number in range(3)]
schemathesis.openapi.media_type("application/x-protobuf", st.sampled_from([*REPORTS, b"", b"".join(REPORTS)]))
API = schemathesis.openapi.from_dict(document(Limits(2**20, 2**22, 1000)))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collector(f"sqlite:///{tmp_path_factory.mktemp('openapi')}/collector.db") as started:
        yield started


@API.parametrize()
@settings(max_examples=50, derandomize=True, deadline=None, database=None)
def test_every_answer_is_one_that_is_described(case: schemathesis.Case, service: Collector) -> None:
    case.call_and_validate(base_url=service.url, excluded_checks=_unsayable(case))


def _unsayable(case: schemathesis.Case) -> list[schemathesis.CheckFunction]:
    """Checks of what a schema cannot say of OTLP."""
    if case.path != "/v1/traces":
        return []
    # A number in JSON may have more forms than a schema's, and what is taken of a request is told in an answer 200.
    unsayable = [negative_data_rejection]
    if (case.headers or {}).get("Content-Encoding", "identity") != "identity":
        unsayable.append(positive_data_acceptance)  # that the bytes are gzip: they are sent as they are
    return unsayable
