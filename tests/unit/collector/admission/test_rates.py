from __future__ import annotations

import pytest

from metavox_collector.admission.memory import tables
from metavox_collector.admission.rates import DAY, Rates

NOW = 1000.0


def rates_of(per_minute: int) -> Rates:
    (table,) = tables(1, None)
    return Rates(table, per_minute)


def test_a_minutes_worth_may_come_at_once_and_then_one_at_a_time():
    rates = rates_of(6)
    assert [rates.take(b"a", NOW) for _ in range(6)] == [0.0] * 6
    assert rates.take(b"a", NOW) == pytest.approx(10)
    assert rates.take(b"a", NOW + 9) == pytest.approx(1)
    assert rates.take(b"a", NOW + 10) == 0
    assert rates.take(b"a", NOW + 10) > 0


@pytest.mark.parametrize("per_minute", [1, 7, 60, 599, 600, 3000])
def test_nobody_gets_more_and_nobody_less_than_the_budget(per_minute):
    rates, seconds, offered = rates_of(per_minute), 180, per_minute // 10 + 2
    taken = sum(rates.take(b"a", NOW + second) == 0 for second in range(seconds) for _ in range(offered))
    assert taken == int(per_minute * (1 + (seconds - 1) / 60))


def test_who_was_told_to_wait_is_served_after_that_time():
    rates = rates_of(60)
    while not (wait := rates.take(b"a", NOW)):
        pass
    assert rates.take(b"a", NOW + wait + 1e-6) == 0


def test_asking_too_soon_makes_nobody_wait_longer():
    rates = rates_of(1)
    rates.take(b"a", NOW)
    first = rates.take(b"a", NOW)
    assert [rates.take(b"a", NOW) for _ in range(100)] == [first] * 100


def test_one_sender_does_not_use_up_another_ones_budget():
    rates = rates_of(1)
    assert rates.take(b"a", NOW) == 0
    assert rates.take(b"b", NOW) == 0
    assert rates.take(b"a", NOW) > 0


def test_every_day_the_key_is_another_one():
    (table,) = tables(1, None)
    rates = Rates(table, 1)
    rates.take(b"a", NOW)
    before = table.places(b"a")
    rates.take(b"a", DAY - 1)
    assert table.places(b"a") == before
    rates.take(b"a", DAY)
    assert table.places(b"a") != before
