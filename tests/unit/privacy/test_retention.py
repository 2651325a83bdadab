from __future__ import annotations

import pytest
from pydantic import ValidationError

from metavox.telemetry.journal.journal import KEPT
from metavox_collector.settings import Settings
from metavox_privacy.notice import LANGUAGES, Language, notice
from metavox_privacy.retention import KEPT_AT_COLLECTOR, KEPT_HERE, RETENTION
from metavox_privacy.schema import SCHEMA


def test_what_is_said_of_how_long_anything_is_kept_is_what_is_done():
    assert KEPT == KEPT_HERE
    longest = Settings(accept_weeks=4)
    assert longest.accepted_for <= KEPT_AT_COLLECTOR
    with pytest.raises(ValidationError):
        Settings(accept_weeks=5)
    assert longest.grace < longest.accepted_for
    assert sum(str(KEPT_HERE.days) in how_long for _, _, how_long in RETENTION) == 2
    assert sum(str(KEPT_AT_COLLECTOR.days) in how_long for _, _, how_long in RETENTION) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_notice_says_how_long(language: Language):
    for kept in (KEPT_HERE, KEPT_AT_COLLECTOR):
        assert f" {kept.days} " in notice(SCHEMA, language)
