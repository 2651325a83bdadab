"""What the documents say, and that it comes from what they name as its source."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from metavox_collector.dataset.gdpr import operations_of
from metavox_collector.dataset.gdpr.cnil import QUESTIONS
from metavox_collector.dataset.gdpr.operations import EEA, Operations
from metavox_collector.dataset.gdpr.statements import Document, Fact, document_of
from metavox_collector.errors import ReleaseRefused
from metavox_collector.settings import Settings
from metavox_privacy import retention
from metavox_privacy.budget import correct
from metavox_privacy.notice import LANGUAGES, Language, lay_out, notice, notice_hash
from metavox_privacy.notice import QUESTIONS as ASKED
from metavox_privacy.receipt_graph import BUYERS
from metavox_privacy.retention import KEPT_AT_COLLECTOR
from metavox_privacy.schema import SCHEMA, Schema
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.gdpr.cases import CRITERIA, EXAMPLE, attacks, audit, example_file, settings

WORDED = (
    *("record", "notice", "processor-terms", "anonymisation", "retention", "transfers", "rights", "coverage"),
    "open-questions",
)


def document(name: str, files: dict[str, bytes] | None = None) -> Document:
    found = example_file() if files is None else files
    return document_of(json.loads(found[f"gdpr/{name}.json"]))


def stated(name: str, article: str, files: dict[str, bytes] | None = None) -> str:
    """All statements of a section, with its rows."""
    (section,) = (one for one in document(name, files).sections if one.article == article)
    return " ".join([*(fact.statement for fact in section.facts), json.dumps(list(section.rows))])


def facts(files: dict[str, bytes] | None = None) -> list[Fact]:
    found = example_file() if files is None else files
    return [fact for name in WORDED for section in document(name, found).sections for fact in section.facts]


def text(files: dict[str, bytes]) -> str:
    return "\n".join(content.decode() for content in files.values())


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert example_file() == example_file()


def test_every_statement_says_where_it_comes_from() -> None:
    assert all(fact.source and fact.statement for fact in facts())
    assert {fact.status for fact in facts()} == {"derived", "declared", "to confirm", "to fill in"}


def test_no_reading_of_the_law_is_called_a_fact_of_the_software() -> None:
    of_law = [fact for fact in facts() if fact.source.startswith("law: ")]
    assert len(of_law) > 20
    assert {fact.status for fact in of_law} == {"to confirm"}


def test_every_setting_that_is_named_exists() -> None:
    named = {fact.source.removeprefix("setting: ") for fact in facts() if fact.source.startswith("setting: ")}
    assert len(named) > 8
    assert named <= set(Settings.model_fields)


def test_every_module_that_is_named_exists() -> None:
    named = {fact.source.removeprefix("code: ") for fact in facts() if fact.source.startswith("code: ")}
    assert len(named) > 15
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


def test_every_field_that_is_named_is_of_the_schema() -> None:
    named = {fact.source.removeprefix("schema: ") for fact in facts() if fact.source.startswith("schema: ")}
    assert set(SCHEMA.dimension) | set(SCHEMA.metric) <= named
    assert named <= {*SCHEMA.dimension, *SCHEMA.metric, "version", "fields"}


@pytest.mark.parametrize("name", [*SCHEMA.dimension, *SCHEMA.metric])
def test_the_record_has_every_field_with_its_reason(name: str) -> None:
    field = SCHEMA.dimension.get(name) or SCHEMA.metric[name]
    words = stated("record", "30(1)(c)")
    assert f"{name} ({field.attribute})" in words
    assert field.reason in words
    assert field.expires.isoformat() in words


def test_a_field_less_in_the_schema_is_a_field_less_in_the_documents() -> None:
    fewer = replace(SCHEMA, dimensions=tuple(one for one in SCHEMA.dimensions if one.name != "streaming"))
    files = example_file(replace(EXAMPLE, schema=fewer))
    assert "gen_ai.request.stream" in text(example_file())
    assert "gen_ai.request.stream" not in text(files)
    assert "16 fields" in text(files)


def test_what_was_promised_of_retention_is_what_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    for what, where, how_long in retention.RETENTION:
        assert f"{what}, {where}: {how_long}" in stated("record", "30(1)(f)")
    monkeypatch.setattr(
        "metavox_collector.dataset.gdpr.record.RETENTION", (("A new thing", "in a place", "for a moment"),)
    )
    files = example_file(operations=operations_of(settings()))
    assert "A new thing, in a place: for a moment" in stated("record", "30(1)(f)", files)


CHANGES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "accept_weeks": ({"accept_weeks": 3}, "retention", "limits", "21 days"),
    "grace_days": ({"grace_days": 7}, "retention", "limits", "closed 7 days"),
    "hosting_country": ({"hosting_country": "FR"}, "transfers", "staging", "staged in: FR"),
    "processors": ({"processors": ("Another|keeps backups|SE",)}, "record", "30(2)(a)", "Another (SE)"),
    "reports_per_block": ({"reports_per_block": 77}, "record", "30(1)(g)", "77 reports"),
    "sends_per_minute": ({"sends_per_minute": 55}, "record", "30(1)(g)", "55 requests"),
    "deletions_per_minute": ({"deletions_per_minute": 44}, "rights", "17", "44 times"),
    "require_token": ({"require_token": "tokens"}, "record", "30(1)(g)", "token of a closed fleet"),
    "spark_master": ({"spark_master": "spark://s:7077"}, "record", "30(2)(b)", "Spark"),
    "publish_nano_rho": ({"publish_nano_rho": 1_230_000}, "anonymisation", "mechanism", "0.00123"),
    "improve_nano_rho": ({"improve_nano_rho": 4_560_000}, "anonymisation", "mechanism", "0.00456"),
    "db": ({"db": "sqlite:///c.db"}, "record", "30(1)(g)", "sqlite"),
    "signing_key": ({"signing_key": "key.pem"}, "record", "30(1)(g)", "A signature over the SHA-256"),
    "cadence_weeks": ({"cadence_weeks": 4, "grace_days": 6}, "retention", "limits", "4 weeks are released"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_changes_changes_the_documents(name: str) -> None:
    changes, which, article, words = CHANGES[name]
    assert words not in stated(which, article)
    assert words in stated(which, article, example_file(operations=operations_of(settings(**changes))))


def test_every_part_of_the_operations_is_in_the_hash_of_sources() -> None:
    before = json.loads(example_file()["gdpr/index.json"])["sources"]["settings"]
    other: dict[str, Any] = {"transport": "plain", "database": "sqlite", "hosting_country": "FR", "processors": ()}
    for field in dataclasses.fields(Operations):
        operations = operations_of(settings())
        value = getattr(operations, field.name)
        changed: Any = (
            other[field.name] if field.name in other else not value if value in (True, False) else value + 1
        )
        files = example_file(operations=replace(operations, **{field.name: changed}))
        assert json.loads(files["gdpr/index.json"])["sources"]["settings"] != before, field.name


@pytest.mark.parametrize(
    ("given", "words", "status"),
    [
        ({}, "ends TLS itself", "derived"),
        ({"tls_cert": None, "tls_key": None, "trusted_proxies": ("10.0.0.1",)}, "through a proxy", "to confirm"),
        ({"tls_cert": None, "tls_key": None}, "its own machine alone", "derived"),
        ({"tls_cert": None, "tls_key": None, "host": "0.0.0.0"}, "would cross a network", "to confirm"),  # noqa: S104
    ],
)
def test_encryption_on_the_way_is_stated_as_far_as_it_is_known(
    given: dict[str, Any], words: str, status: str
) -> None:
    files = example_file(operations=operations_of(settings(**given)))
    (fact,) = {fact for fact in facts(files) if words in fact.statement}
    assert fact.status == status


def test_a_controller_is_named_as_the_settings_name_it() -> None:
    words = stated("record", "30(1)(a)")
    for part in (EXAMPLE.publisher.name, EXAMPLE.publisher.address, EXAMPLE.publisher.email, EXAMPLE.publisher.dpo):
        assert part is not None
        assert part in words


def test_what_the_settings_do_not_say_is_left_for_the_controller_to_fill_in() -> None:
    nobody = replace(EXAMPLE.publisher, dpo=None, url=None, country=None)
    nowhere = operations_of(settings(hosting_country=None))
    files = example_file(replace(EXAMPLE, publisher=nobody), operations=nowhere)
    left = [fact for fact in facts(files) if fact.status == "to fill in"]
    for name in ("dpo_contact", "controller_url", "controller_country", "hosting_country"):
        assert any(name in fact.statement for fact in left), name


def test_a_synthetic_release_names_no_controller_as_declared() -> None:
    files = example_file(example_dataset(synthetic=True, cells=2))
    assert "Synthetic" in stated("record", "30(1)(a)", files)
    declared = {fact.source for fact in facts(files) if fact.status == "declared"}
    assert not [source for source in declared if "controller" in source]


def test_a_controller_abroad_needs_a_representative() -> None:
    abroad = replace(EXAMPLE, publisher=replace(EXAMPLE.publisher, country="US"))
    assert "Art. 27" not in stated("record", "30(1)(a)")
    assert "Art. 27" in stated("record", "30(1)(a)", example_file(abroad))


@pytest.mark.parametrize(("country", "is_transfer"), [("IT", False), ("NO", False), ("CH", True), ("US", True)])
def test_a_country_outside_the_area_asks_for_a_safeguard(country: str, *, is_transfer: bool) -> None:
    files = example_file(operations=operations_of(settings(hosting_country=country)))
    assert ("Art. 46" in stated("record", "30(1)(e)", files)) is is_transfer
    assert (country in EEA) is not is_transfer


def test_recipients_are_those_that_people_were_told() -> None:
    words = stated("record", "30(1)(d)")
    assert all(kind in words for kind in BUYERS)
    assert all(kind in stated("notice", "13(1)(e)") for kind in BUYERS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notice_has_the_very_words_and_their_hash(language: Any) -> None:
    (section,) = (one for one in document("notice").sections if one.article == f"words ({language})")
    assert section.verbatim == "\n".join((lay_out(notice(SCHEMA, language)), *ASKED[language].values()))
    assert notice_hash(SCHEMA, language) in stated("notice", f"words ({language})")


@pytest.mark.parametrize("token", ["6(1)(a)", "--delete", "telemetry off", "METAVOX_COLLECTOR_URL"])
def test_what_the_words_do_not_say_is_not_called_said(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"The words lack “{token}”" not in text(example_file())

    def shorn(schema: Schema, language: Language = "en") -> str:
        return notice(schema, language).replace(token, "")

    monkeypatch.setattr("metavox_collector.dataset.gdpr.notices.notice", shorn)
    files = example_file(operations=operations_of(settings()))
    assert f"The words lack “{token}” (en, it)" in text(files)


def test_what_the_ledger_says_of_a_release_later_is_said_of_it() -> None:
    entry = correct(EXAMPLE.history, week=EXAMPLE.week, purpose="publish", reason="figures corrected")
    files = example_file(replace(EXAMPLE, history=(*EXAMPLE.history, entry)))
    assert "figures corrected" not in stated("coverage", "say")
    assert "figures corrected" in stated("coverage", "say", files)


def test_the_release_and_its_ledger_entry_are_in_every_document() -> None:
    files = example_file()
    for name in WORDED:
        head = json.loads(files[f"gdpr/{name}.json"])["release"]
        assert head["SHA-256 of the release"] == EXAMPLE.release.sha256
        assert head["hash of that entry"] == EXAMPLE.history[-1].hash
    assert EXAMPLE.release.sha256 in files["gdpr/dpia.json"].decode()


def test_the_evidence_names_every_week_of_a_period_and_no_number_of_reports() -> None:
    four = example_dataset(synthetic=False, weeks=4, cells=2)
    (section,) = (one for one in document("retention", example_file(four)).sections if one.article == "destroyed")
    assert [row["week"] for row in section.rows] == ["2026-W44", "2026-W45", "2026-W46", "2026-W47"]
    assert {row["destroyed_by_ledger_entry"] for row in section.rows} == {1}
    assert set(section.rows[0]) == {
        "week",
        "ended",
        "destroyed_by_ledger_entry",
        "hash_of_that_entry",
        "would_have_been_kept_until",
    }


def test_a_report_is_never_kept_longer_than_was_promised() -> None:
    assert operations_of(settings(accept_weeks=4)).kept_days <= KEPT_AT_COLLECTOR.days


def test_coverage_is_of_published_noisy_counts() -> None:
    (section,) = (one for one in document("coverage").sections if one.article == "how many")
    by_table = {row["table"]: row for row in section.rows}
    for table in EXAMPLE.release.tables:
        row = by_table[table.name]
        assert row["noisy_contributors"] == sum(cell.contributors for cell in table.cells)
        assert (row["published"], row["possible"]) == (len(table.cells), table.keys)


def test_no_number_of_the_documents_comes_from_anything_but_what_is_released() -> None:
    """Documents are a function of the release and of what is public: there is no way in for an exact count."""
    assert set(example_file.__kwdefaults__ or {}) == {"of_audit", "of_attacks", "operations"}
    names = {field.name for field in dataclasses.fields(EXAMPLE)}
    assert names == {"labelled", "statement", "history", "schema", "tables", "publisher", "issued", "code"}


def test_figures_of_the_audit_and_of_the_attacks_are_in_the_assessment() -> None:
    files = example_file(of_audit=audit(mu=0.123))
    assert "0.123" in stated("anonymisation", "mechanism", files)
    assert "0.123" in files["gdpr/dpia.md"].decode()
    for criterion in CRITERIA:
        assert f"asking about {criterion}" in stated("anonymisation", criterion, files)


@pytest.mark.parametrize("criterion", ["singling out", "linkability", "inference"])
def test_an_attack_that_succeeds_is_said_and_makes_the_risk_high(criterion: Any) -> None:
    before, after = example_file(), example_file(of_attacks=attacks(failing=criterion))
    assert f"beyond their limits: asking about {criterion}" in stated("anonymisation", criterion, after)
    assert likelihood(before) == 1
    assert likelihood(after) == 4
    assert "Prior consultation (Art. 36) is due" in after["gdpr/dpia.md"].decode()


def test_an_audit_that_misses_a_planted_fault_makes_the_risk_high() -> None:
    files = example_file(of_audit=audit(caught=False))
    assert "missed were noise halved" in stated("anonymisation", "planted faults", files)
    assert likelihood(files) == 4


def test_a_criterion_that_nothing_measured_is_for_the_controller_to_have_assessed() -> None:
    files = example_file(of_attacks=attacks(without="linkability"))
    assert "No measurement" in stated("anonymisation", "linkability", files)


@pytest.mark.parametrize("missing", ["gates", "planted"])
def test_a_report_without_its_measurements_is_refused(missing: str) -> None:
    with pytest.raises(ReleaseRefused, match="audit"):
        example_file(of_audit={**audit(), missing: []})
    with pytest.raises(ReleaseRefused, match="audit"):
        example_file(of_audit={name: value for name, value in audit().items() if name != missing})


def test_a_verdict_that_is_neither_yes_nor_no_is_refused() -> None:
    report = attacks()
    report["gates"][0]["passed"] = "yes"
    with pytest.raises(ReleaseRefused, match="neither true nor false"):
        example_file(of_attacks=report)


def test_every_open_question_is_open_and_says_what_is_done_meanwhile() -> None:
    sections = [one for one in document("open-questions").sections if one.article != "date"]
    assert len(sections) >= 10
    for section in sections:
        assert [fact.status for fact in section.facts] == ["to confirm", "derived"], section.article
    articles = " ".join(section.article + section.title for section in sections)
    for named in ("5(3)", "Recital 26", "Art. 26", "Art. 49", "2024/1689", "2023/2854"):
        assert named in articles


def test_the_index_lists_what_is_left_to_the_controller_from_every_document() -> None:
    files = example_file()
    listed = json.loads(files["gdpr/index.json"])["open"]
    for name in WORDED:
        expected = [fact.statement for _, fact in document(name, files).open_facts]
        assert [one["statement"] for one in listed if one["document"] == name] == expected
    comments = json.loads(files["gdpr/dpia.json"])["comments"]
    assert len([one for one in listed if one["document"] == "dpia"]) == len(comments) > 10


def test_what_a_setting_says_cannot_break_a_document() -> None:
    odd = "A | B <script>alert(1)</script> *x* [y](https://z)\nsecond `line`"
    files = example_file(replace(EXAMPLE, publisher=replace(EXAMPLE.publisher, name=odd)))
    for name, content in files.items():
        if name.endswith(".md"):
            assert b"<script>" not in content, name
            assert not re.search(rb"(?<!\\)\]\(https://z\)", content), name
    answers = json.loads(files["gdpr/dpia.json"])["answers"]
    assert not any("<script>" in (answer["data"]["text"] or "") for answer in answers)


def likelihood(files: dict[str, bytes]) -> int:
    """Of illegitimate access, as the impact assessment has it."""
    answers = json.loads(files["gdpr/dpia.json"])["answers"]
    (value,) = (answer["data"]["gauge"] for answer in answers if answer["reference_to"] == 326)
    assert QUESTIONS[326][0] == "Likelihood"
    return int(value)
