"""Who decides: each rule beats the ones after it, and what is not understood means off."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.consent import (
    ASK_AGAIN_AFTER,
    CI_VARIABLES,
    Answer,
    Consent,
    Evidence,
    Unreadable,
    decide,
    off,
)
from metavox_privacy.gate import gate
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt, parse_receipt, understand
from metavox_privacy.schema import SCHEMA
from tests.spans import START, example_span

NOW = datetime(2026, 11, 16, tzinfo=timezone.utc)
YES = Answer(frozenset({"improve", "publish"}), NOW, notice_hash(SCHEMA), SCHEMA.version)
SAVED = format_receipt(YES)
PERMITS = '{"telemetry": "user"}'


def decision(environment=None, *, policy=None, answer=YES, now=NOW, **more) -> Consent:
    return decide(Evidence(environment or {}, policy=policy, answer=answer, **more), now)


def test_a_recorded_yes_is_a_yes_from_its_moment_on():
    assert decision() == Consent(YES.purposes, NOW, "the recorded consent", YES.notice)
    assert decision({"METAVOX_TELEMETRY": "on"}, policy=PERMITS).granted


# Each row: everything that would decide otherwise further down is there too, and this rule still wins.
RULES = [
    ("DO_NOT_TRACK", {"DO_NOT_TRACK": "1", "METAVOX_TELEMETRY": "on", "CI": ""}, PERMITS),
    ("METAVOX_TELEMETRY is off", {"METAVOX_TELEMETRY": "off"}, PERMITS),
    ("policy", {"METAVOX_TELEMETRY": "on"}, '{"telemetry": "off"}'),
    ("CI", {"METAVOX_TELEMETRY": "on", "CI": "true"}, PERMITS),
]


@pytest.mark.parametrize(("rule", "environment", "policy"), RULES)
def test_each_rule_beats_a_saved_yes(rule: str, environment: dict[str, str], policy: str):
    found = decision(environment, policy=policy)

    assert not found.granted
    assert rule in found.rule


@pytest.mark.parametrize("first", range(len(RULES)))
def test_each_rule_is_named_before_the_ones_after_it(first: int):
    environment: dict[str, str] = {"CI": "true", "METAVOX_TELEMETRY": "off", "DO_NOT_TRACK": "1"}
    for name in ("DO_NOT_TRACK", "METAVOX_TELEMETRY")[:first]:
        del environment[name]
    policy = '{"telemetry": "off"}' if first <= 2 else None

    assert RULES[first][0] in decision(environment, policy=policy).rule


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything"])
def test_do_not_track_is_heard_in_any_spelling(value: str):
    assert not decision({"DO_NOT_TRACK": value}).granted


@pytest.mark.parametrize("value", ["", "0", "false", " No "])
def test_do_not_track_that_says_no_changes_nothing(value: str):
    assert decision({"DO_NOT_TRACK": value}).granted


@pytest.mark.parametrize("value", ["off", "0", "FALSE", "no", "nein", "perhaps", "onn"])
def test_a_switch_that_is_not_clearly_on_is_off(value: str):
    assert not decision({"METAVOX_TELEMETRY": value}).granted


@pytest.mark.parametrize("name", CI_VARIABLES)
def test_every_build_system_means_off_and_is_named(name: str):
    found = decision({name: "1"})

    assert not found.granted
    assert name in found.rule


@pytest.mark.parametrize(
    "policy", ["", "{", "[]", "null", '"user"', "{}", '{"telemetry": "on"}', '{"telemetry": null}', Unreadable.FILE]
)
def test_a_policy_that_is_not_understood_forces_off(policy):
    assert not decision(policy=policy).granted


@pytest.mark.parametrize("environment", [{}, {"METAVOX_TELEMETRY": "on"}])
def test_a_policy_or_a_switch_alone_never_forces_on(environment: dict[str, str]):
    assert not decision(environment, policy=PERMITS, answer=None).granted


@pytest.mark.parametrize("answer", [None, "", "{}", "[]", "null", "yes", "\x00", Unreadable.FILE])
def test_no_answer_or_an_unreadable_one_is_off(answer):
    assert not decision(answer=understand(answer)).granted


def test_a_no_and_a_not_now_are_off_and_told_apart():
    no = replace(YES, purposes=frozenset())
    later = replace(no, ask_again_after=NOW + ASK_AGAIN_AFTER)

    assert decision(answer=no) == off("the answer was no")
    assert decision(answer=later) == off("the answer was not now")


@pytest.mark.parametrize("version", [0, 2])
def test_a_changed_list_pauses_a_yes(version: int):
    found = decision(answer=replace(YES, schema_version=version))

    assert not found.granted
    assert "changed" in found.rule


def test_a_changed_word_of_the_notice_pauses_a_yes():
    found = decision(answer=replace(YES, notice="cd" * 32))

    assert not found.granted
    assert "changed" in found.rule


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"notice": "cd" * 32}], ids=str)
def test_a_change_leaves_a_no_a_no(change: dict[str, object]):
    no = replace(YES, purposes=frozenset(), **change)  # type: ignore[arg-type]

    assert decision(answer=no).rule == "the answer was no"


moments = st.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(timezone.utc)
)
answers = st.builds(
    Answer,
    purposes=st.frozensets(st.sampled_from(["improve", "publish"])),
    answered_at=moments,
    notice=st.just(notice_hash(SCHEMA)),
    schema_version=st.just(SCHEMA.version),
    ask_again_after=st.none() | moments,
)


@given(answers)
def test_an_answer_survives_the_file(answer: Answer):
    assert parse_receipt(format_receipt(answer)) == answer


TAMPERED = [
    {"version": 1},
    {"purposes": ["improve", "sell my soul"]},
    {"purposes": "improve"},
    {"purposes": {"improve": True}},
    {"purposes": None},
    {"purposes": ["improve", "improve"]},
    {"answered_at": "2026-11-16T00:00:00"},
    {"answered_at": "yesterday"},
    {"answered_at": 5},
    {"schema_version": "one"},
    {"schema_version": None},
    {"ask_again_after": "some day"},
]


@pytest.mark.parametrize("change", TAMPERED, ids=str)
def test_a_tampered_answer_is_not_understood(change: dict[str, object]):
    document = {**json.loads(format_receipt(YES)), **change}

    assert parse_receipt(json.dumps(document)) is None


@pytest.mark.parametrize("missing", json.loads(format_receipt(YES)))
def test_an_answer_with_a_fact_missing_is_not_understood(missing: str):
    document = json.loads(format_receipt(YES))
    del document[missing]

    assert parse_receipt(json.dumps(document)) is None


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_off_and_never_an_exception(text: str):
    assert not decision(answer=understand(text)).granted
    assert not decision(policy=text).granted


def test_the_gate_drops_what_began_before_the_yes():
    yes = datetime.fromtimestamp(START // 10**9, timezone.utc)

    assert gate(example_span(), Consent(frozenset({"improve"}), yes, "")) == example_span()
    assert gate(example_span(), Consent(frozenset({"improve"}), yes + timedelta(seconds=1), "")) is None


def test_the_gate_drops_everything_while_off():
    early = datetime(2020, 1, 1, tzinfo=timezone.utc)

    assert gate(example_span(), off("no")) is None
    assert gate(example_span(), Consent(frozenset(), early, "")) is None
    assert gate(example_span(), Consent(frozenset({"improve"}), None, "")) is None
