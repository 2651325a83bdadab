from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.week import Week


@given(st.datetimes(datetime(2021, 1, 1), datetime(2199, 1, 1), timezones=st.just(timezone.utc)))
def test_every_moment_lies_in_its_week_and_the_week_reads_back(moment):
    week = Week.of(moment)
    assert week.start <= moment < week.end
    assert Week.parse(str(week)) == week


def test_a_moment_in_another_zone_counts_in_utc():
    zone = timezone(timedelta(hours=10))
    assert Week.of(datetime(2026, 11, 23, 5, tzinfo=zone)) == Week(2026, 47)


def test_2026_has_a_week_53_and_2025_has_not():
    assert Week(2026, 53).end.year == 2027
    with pytest.raises(ValueError, match="53"):
        Week(2025, 53)


@pytest.mark.parametrize(
    "text", ["", "2026-47", "2026-W7", "26-W47", "2026-W47 ", "2026-W00", "2026-W54", "1999-W01"]
)
def test_what_is_not_a_week_is_refused(text):
    with pytest.raises(ValueError, match=r"week|year|range|invalid"):
        Week.parse(text)


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        Week.of(datetime(2026, 1, 1))
