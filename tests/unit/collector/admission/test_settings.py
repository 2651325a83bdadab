from __future__ import annotations

from ipaddress import ip_network

import pytest

from metavox_collector.admission import Admission, Limits, Throttled, Unauthorized, mint
from metavox_collector.clock import utc_now
from metavox_collector.errors import NotAllowed
from metavox_collector.settings import Settings

FAR = "203.0.113.7"


def test_the_limits_are_what_the_operator_chose():
    chosen = Settings(
        sends_per_minute=5, deletions_per_minute=6, reports_per_block=7, unlimited_networks="10.0.0.0/8"
    )
    assert Limits.of(chosen) == Limits(5, 6, 7, (ip_network("10.0.0.0/8"),))


def test_by_default_the_machine_itself_is_not_limited_and_everybody_else_is():
    admission = Admission.of(Settings(), utc_now)
    admission.admit("127.0.0.1", 10**6)
    admission.admit("::1", 10**6)
    with pytest.raises(Throttled):
        admission.admit(FAR, 10**6)


def test_a_token_is_asked_for_when_there_is_a_file_of_them(tmp_path):
    secret, line = mint()
    (tmp_path / "tokens").write_text(line)
    admission = Admission.of(Settings(require_token=tmp_path / "tokens"), utc_now)
    admission.authorize(f"Bearer {secret}")
    with pytest.raises(Unauthorized):
        admission.authorize(None)
    Admission.of(Settings(), utc_now).authorize(None)


def test_a_file_of_tokens_that_is_wrong_keeps_the_service_from_starting(tmp_path):
    (tmp_path / "tokens").write_text("")
    with pytest.raises(NotAllowed):
        Admission.of(Settings(require_token=tmp_path / "tokens"), utc_now)
    with pytest.raises(FileNotFoundError):
        Admission.of(Settings(require_token=tmp_path / "none"), utc_now)
