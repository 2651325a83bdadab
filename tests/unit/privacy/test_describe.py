from __future__ import annotations

import pytest

from metavox.telemetry.journal import KEPT
from metavox_collector.settings import Settings
from metavox_privacy.automation import AUTOMATION
from metavox_privacy.describe import automation_table, markdown, notice_block, retention_table
from metavox_privacy.notice import LANGUAGES, QUESTIONS, Language, notice
from metavox_privacy.retention import KEPT_AT_COLLECTOR, KEPT_HERE, RETENTION
from metavox_privacy.schema import SCHEMA


def test_every_field_stands_in_the_tables_with_its_reason():
    text = markdown(SCHEMA)
    for field in (*SCHEMA.dimensions, *SCHEMA.metrics):
        assert f"`{field.name}`" in text
        assert f"`{field.attribute}`" in text
        assert field.reason in text
    for table in SCHEMA.tables:
        assert f"`{table.name}`" in text


@pytest.mark.parametrize("text", [markdown(SCHEMA), automation_table(), retention_table()])
def test_every_row_has_as_many_columns_as_its_head(text: str):
    for block in text.split("\n\n"):
        assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_docs_show_the_whole_notice_and_both_questions(language: Language):
    shown = "".join(notice_block(SCHEMA, language).split())

    assert "".join(notice(SCHEMA, language).split()) in shown
    assert all("".join(question.split()) in shown for question in QUESTIONS[language].values())


def test_every_variable_of_a_build_system_stands_in_its_table_once():
    text = automation_table()

    assert all(text.count(f"`{variable}`") == 1 for variable in AUTOMATION)


def test_what_is_said_of_how_long_anything_is_kept_is_what_is_done():
    text = retention_table()

    assert KEPT == KEPT_HERE
    assert Settings.model_fields["grace_days"].default <= KEPT_AT_COLLECTOR.days
    assert all(cell in text for row in RETENTION for cell in row)
    for language in LANGUAGES:
        assert str(KEPT_HERE.days) in notice(SCHEMA, language)
        assert str(KEPT_AT_COLLECTOR.days) in notice(SCHEMA, language)
