"""What several suites share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.spans import example_span

# The same examples in every run, however slow the machine is, and in a checkout that one may only read.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.fixture
def span():
    return example_span()
