from __future__ import annotations

from pathlib import Path

import pytest

from metavox_collector.dataset.facts import DELTA
from metavox_collector.errors import NotAllowed
from metavox_collector.settings import PREFIX, Settings, explain, load
from metavox_privacy.budget import epsilon

ROOT = Path(__file__).parents[3]

SECRET = "a:b/c@d %"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes a TOML file that the environment names."""

    def write(text: str, mode: int = 0o600) -> str:
        file = tmp_path / "collector.toml"
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        monkeypatch.setenv(f"{PREFIX}CONFIG", str(file))
        return str(file)

    return write


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "db-password"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    file.chmod(0o640)
    return file


def test_privacy_md_states_the_budgets_as_they_are_set_and_what_they_imply():
    said = " ".join((ROOT / "PRIVACY.md").read_text(encoding="utf-8").split())
    shipped = Settings()
    publish, improve, cap = shipped.publish_nano_rho, shipped.improve_nano_rho, shipped.yearly_cap_nano_rho
    for nano_rho in (publish, improve, publish + improve, cap):
        assert f"ρ = {nano_rho / 1e9:g} " in said
        assert f"ε = {epsilon(nano_rho, DELTA):.2g}" in said


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_the_command_line_is_over_the_environment_and_that_over_the_file(monkeypatch, config):
    file = config('db = "sqlite:///file.db"\nmax_reports = 5\ngrace_days = 3\n')
    monkeypatch.setenv(f"{PREFIX}DB", "sqlite:///environment.db")
    monkeypatch.setenv(f"{PREFIX}MAX_REPORTS", "6")
    explained = explain(db="sqlite:///given.db", sandbox=None)
    chosen = explained.settings
    assert (chosen.db, chosen.max_reports, chosen.grace_days, chosen.sandbox) == ("sqlite:///given.db", 6, 3, False)
    assert explained.source == {"db": "command line", "max_reports": f"{PREFIX}MAX_REPORTS", "grace_days": file}


def test_a_file_that_is_given_is_over_the_one_that_the_environment_names(config, tmp_path):
    config("grace_days = 3\n")
    (tmp_path / "other.toml").write_text("grace_days = 4\n", encoding="utf-8")
    assert load(tmp_path / "other.toml").grace_days == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grace_day = 3\n", "grace_day in .*collector.toml is not a setting"),
        ("grace_days = \n", "collector.toml is not TOML"),
        ("[limits]\nmax_reports = 3\n", "limits in .* is not a setting"),
        ("grace_days = 30\n", "the setting grace_days is wrong"),
        ("header_timeout_s = inf\n", "the setting header_timeout_s is wrong"),
        ("db_password_file = 3\n", "the setting db_password_file is wrong"),
        ('db_password_file = ""\n', "is no file"),
        ("db = 3\n", "the setting db is wrong"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(config, text, words):
    config(text)
    with pytest.raises(NotAllowed, match=words):
        load()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NotAllowed, match="is not there"):
        load(tmp_path / "none.toml")


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
        *(("GRACE_DAYS", "-1"), ("GRACE_DAYS", "soon"), ("MAX_REPORTS", "0"), ("ACCEPT_WEEKS", "5")),
        *(("BUSY_TIMEOUT_S", "inf"), ("YEARLY_CAP_NANO_RHO", str(10**19))),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy.example"),
        *(("MAX_CONNECTIONS", str(10**9)), ("DECODERS", "5000"), ("RETRY_AFTER_S", str(10**9))),
        *(("BODY_TIMEOUT_S", "inf"), ("SPARK_TIMEOUT_S", "inf"), ("SPARK_CONF", "local")),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(NotAllowed, match=f"the setting {name.lower()} is wrong"):
        load()


def test_no_week_is_kept_for_longer_than_people_were_promised():
    assert max(load(accept_weeks=weeks).accepted_for.days for weeks in (2, 3, 4)) <= 30


def test_an_unknown_argument_is_refused():
    with pytest.raises(NotAllowed, match="colour"):
        load(colour="blue")


def test_a_list_has_commas_in_the_environment(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    monkeypatch.setenv(f"{PREFIX}SPARK_CONF", "spark.cores.max=2,spark.executor.memory=2g")
    assert load().trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert load().spark_conf == ("spark.cores.max=2", "spark.executor.memory=2g")


def test_budgets_that_no_year_could_pay_are_refused(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}YEARLY_CAP_NANO_RHO", "12000000")
    with pytest.raises(NotAllowed, match=r"^the settings are wrong: the budgets of .* than the yearly cap"):
        load()


def test_a_certificate_without_its_key_is_refused():
    with pytest.raises(NotAllowed, match="tls_cert and tls_key go together"):
        load(tls_cert="cert.pem")


def test_the_password_is_read_from_its_file_and_shown_nowhere(secret):
    explained = explain(db="postgresql://metavox@db.example:5432/metavox", db_password_file=str(secret))
    assert explained.settings.db == "postgresql://metavox:a%3Ab%2Fc%40d%20%25@db.example:5432/metavox"
    assert 'db = "postgresql://metavox:***@db.example:5432/metavox"' in explained.as_toml()
    assert "a%3Ab" not in explained.as_toml()


@pytest.mark.parametrize(
    ("db", "words"),
    [
        ("postgresql://db.example/metavox", "needs a URL with a user"),
        ("postgresql://metavox:other@db.example/metavox", "without a password"),
        ("sqlite:///collector.db", "needs a URL with a user"),
    ],
)
def test_a_password_file_for_a_url_that_takes_none_is_refused(secret, db, words):
    with pytest.raises(NotAllowed, match=words):
        load(db=db, db_password_file=str(secret))


@pytest.mark.parametrize(
    "db",
    [
        "postgresql://metavox:12/hunter@db.example/metavox",
        "postgresql://metavox:12?hunter@db.example/metavox",
        "postgresql://metavox:12#hunter@db.example/metavox",
        "postgresql://metavox:12@hunter@db.example/metavox",
        "postgresql://metavox@db.example/metavox?password=hunter",
        "postgresql://metavox@db.example/metavox?sslPassword=hunter",
        "postgresql://metavox@db.example:hunter/metavox",
        "postgresql://metavox@[hunter/metavox",
    ],
)
@pytest.mark.parametrize("name", ["db", "spark_db"])
def test_a_url_in_which_a_password_would_be_overlooked_is_refused_without_a_word_of_it(config, name, db):
    config(f'{name} = "{db}"\n', mode=0o644)
    for given in ({}, {name: db}):
        with pytest.raises(NotAllowed, match="database's URL") as refused:
            load(**given)
        assert "hunter" not in str(refused.value)


def test_a_secret_that_everybody_may_read_is_refused(secret, config):
    secret.chmod(0o644)
    with pytest.raises(NotAllowed, match="chmod o="):
        load(db="postgresql://metavox@db.example/metavox", db_password_file=str(secret))
    config('db = "postgresql://metavox:word@db.example/metavox"\n', mode=0o644)
    with pytest.raises(NotAllowed, match="chmod o="):
        load()


def test_a_configuration_without_a_secret_may_be_read_by_everybody(config):
    config('db = "postgresql://metavox@db.example/metavox"\n', mode=0o644)
    assert load().db == "postgresql://metavox@db.example/metavox"


def test_an_empty_password_file_is_refused(secret):
    secret.write_text("\n", encoding="utf-8")
    with pytest.raises(NotAllowed, match="empty first line"):
        load(db="postgresql://metavox@db.example/metavox", db_password_file=str(secret))


def test_what_is_printed_is_a_configuration_that_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}TRUSTED_PROXIES", "10.0.0.0/8")
    first = explain(db='sqlite:///a "quoted" name.db', busy_timeout_s=0.5)
    monkeypatch.delenv(f"{PREFIX}TRUSTED_PROXIES")
    (tmp_path / "printed.toml").write_text(first.as_toml(), encoding="utf-8")
    assert load(tmp_path / "printed.toml") == first.settings
    assert 'trusted_proxies = ["10.0.0.0/8"]  # METAVOX_COLLECTOR_TRUSTED_PROXIES' in first.as_toml()
    assert "port = 8320  # default" in first.as_toml()


def test_a_cadence_comes_from_the_environment_as_from_a_file(monkeypatch, config):
    config("cadence_weeks = 4\ngrace_days = 6\n")
    assert load().cadence_weeks == 4
    monkeypatch.setenv(f"{PREFIX}CADENCE_WEEKS", "1")
    assert load().cadence_weeks == 1
    monkeypatch.setenv(f"{PREFIX}CADENCE_WEEKS", "2")
    with pytest.raises(NotAllowed, match="cadence_weeks is wrong: input should be 1 or 4"):
        load()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_default_can_be_given_in_the_environment(monkeypatch, name):
    """As text, as an environment has it."""
    default = Settings.model_fields[name].default
    if default is None or isinstance(default, tuple):
        pytest.skip("it has no single value")
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", str(default))
    assert getattr(load(), name) == default
