"""Who is told of a request, and that telling never harms it."""

from __future__ import annotations

from typing import Any

import pytest

from metavox.telemetry.instrument.observer import Observer, quietly
from tests.unit.sdk.telemetry.instrument.test_described import ASKED, MEASURED, MODEL
from tests.unit.sdk.telemetry.kept import Kept


def test_nobody_who_wants_to_know_means_that_nothing_is_measured():
    assert not Observer("vllm", Kept(on=False)).wants()


def test_a_contribution_or_a_provider_is_enough_to_want_to_know(exporter: Any):
    assert Observer("vllm", Kept(on=False)).wants()


def test_a_request_within_a_request_of_the_same_engine_is_a_part_of_it(kept: Kept):
    observer, other = Observer("vllm", kept), Observer("transformers", kept)
    with observer.request():
        assert not observer.wants()
        assert other.wants()
    assert observer.wants()


def test_the_provider_and_the_contribution_get_the_same_request(kept: Kept, exporter: Any):
    Observer("vllm", kept).finished(MODEL, [(ASKED, MEASURED)])

    (span,) = exporter.get_finished_spans()
    assert span.instrumentation_scope.name == "metavox"
    assert dict(span.attributes) == dict(kept.spans[0].attributes)
    assert (span.start_time, span.end_time) == (kept.spans[0].start_time, kept.spans[0].end_time)


def test_a_provider_that_breaks_costs_no_contribution(kept: Kept, exporter: Any, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("metavox.telemetry.instrument.observer.emit", broken)
    Observer("vllm", kept).finished(MODEL, [(ASKED, MEASURED)])

    assert len(kept.spans) == 1


@pytest.mark.parametrize(
    ("error", "has_begun", "number"),
    [
        (RuntimeError(), False, 1),
        (ValueError(), True, 1),
        (ValueError(), False, 0),  # arguments that the engine refused
        (TypeError(), False, 0),
        (KeyboardInterrupt(), True, 0),
    ],
)
def test_an_error_of_the_engine_is_a_failed_request(kept: Kept, error: BaseException, has_begun: bool, number: int):
    Observer("vllm", kept).failed(MODEL, [ASKED], error, has_begun=has_begun)

    assert [span.attributes["error.type"] for span in kept.spans] == [type(error).__name__] * number


def test_a_model_that_could_not_be_described_is_not_told_of(kept: Kept):
    observer = Observer("vllm", kept)
    observer.finished(None, [(ASKED, MEASURED)])
    observer.failed(None, [ASKED], RuntimeError())

    assert kept.spans == []


def test_what_raises_within_telemetry_is_nothing_and_its_words_are_not_logged(caplog: pytest.LogCaptureFixture):
    def broken() -> int:
        raise RuntimeError("a secret")

    with caplog.at_level("DEBUG"):
        assert quietly(broken) is None
    assert "RuntimeError" in caplog.text
    assert "a secret" not in caplog.text
