from __future__ import annotations

import pytest

from metavox_collector.errors import NotAllowed
from metavox_collector.settings import PREFIX, Settings, load


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_what_is_given_has_precedence_over_the_environment(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}DB", "sqlite:///environment.db")
    assert load().db == "sqlite:///environment.db"
    assert load(db="sqlite:///given.db", sandbox=None).db == "sqlite:///given.db"


def test_a_name_that_is_no_setting_is_refused(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}GRACE_DAY", "3")
    with pytest.raises(NotAllowed, match="METAVOX_COLLECTOR_GRACE_DAY is not a setting"):
        load()


def test_the_variable_of_the_sdk_beside_ours_stands_in_nobodys_way(monkeypatch):
    monkeypatch.setenv("METAVOX_COLLECTOR_URL", "https://collector.example")
    assert load() == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("GRACE_DAYS", "-1"), ("GRACE_DAYS", "soon"), ("MAX_REPORTS", "0")),
        *(("BUSY_TIMEOUT_S", "inf"), ("YEARLY_CAP_NANO_RHO", str(10**19))),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(NotAllowed, match=f"the setting {name.lower()} is wrong"):
        load()


def test_an_unknown_argument_is_refused():
    with pytest.raises(NotAllowed, match="colour"):
        load(colour="blue")


def test_budgets_that_no_year_could_pay_are_refused(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}YEARLY_CAP_NANO_RHO", "12000000")
    with pytest.raises(NotAllowed, match=r"^the settings are wrong: the budgets of .* than the yearly cap"):
        load()
