"""Fixtures that several suites share."""

from __future__ import annotations

import pytest

from tests.spans import example_span


@pytest.fixture
def span():
    return example_span()
