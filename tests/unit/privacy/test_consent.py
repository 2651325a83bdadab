"""Who decides: each rule beats the ones after it, and what is not understood means off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.automation import AUTOMATION, CI_VARIABLES
from metavox_privacy.consent import (
    ASK_AGAIN_AFTER,
    DEPLOYMENT_LASTS,
    RECEIPT_VARIABLE,
    Answer,
    Consent,
    Evidence,
    Unreadable,
    decide,
    off,
)
from metavox_privacy.fields import PURPOSES
from metavox_privacy.gate import gate
from metavox_privacy.notice import LANGUAGES, notice_hash
from metavox_privacy.receipt import format_receipt, understand
from metavox_privacy.schema import SCHEMA
from tests.spans import START, example_span

NOW = datetime(2026, 11, 16, tzinfo=timezone.utc)
YES = Answer(frozenset(PURPOSES), NOW, notice_hash(SCHEMA), SCHEMA.version)
NO = replace(YES, purposes=frozenset())
LATER = replace(NO, ask_again_after=NOW + ASK_AGAIN_AFTER)
DEPLOYMENT = replace(
    YES, scope="deployment", answered_at=NOW + timedelta(hours=1), expires_at=NOW + DEPLOYMENT_LASTS
)
PERMITS = '{"telemetry": "user"}'
ON = {"METAVOX_TELEMETRY": "on"}
FILE = "the recorded consent"
NAMED = f"the receipt that {RECEIPT_VARIABLE} names"


def decision(environment: dict[str, str] | None = None, now: datetime = NOW, **found: Any) -> Consent:
    return decide(Evidence(environment or {}, **{"answer": YES, **found}), now)


def test_a_recorded_yes_is_a_yes_from_its_moment_on():
    assert decision() == Consent(YES.purposes, NOW, FILE, YES.notice)
    assert decision(ON, policy=PERMITS) == decision()


def test_a_yes_to_one_purpose_is_a_yes_to_that_one_alone():
    assert decision(answer=replace(YES, purposes=frozenset({"publish"}))).purposes == {"publish"}


def test_a_consent_that_is_off_says_to_no_words_that_anybody_agreed():
    assert off("no").notice == ""
    assert not off("no").granted


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_yes_holds_in_the_language_in_which_it_was_given(language):
    answer = replace(YES, language=language, notice=notice_hash(SCHEMA, language))

    assert decision(answer=answer).notice == answer.notice
    other = next(one for one in LANGUAGES if one != language)
    assert "the notice has changed" in decision(answer=replace(answer, language=other)).rule


# Each rule that forces off, in their order, and what makes it apply.
RULES: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("configure(enabled=False)", lambda found: replace(found, forced_off=True)),
    ("DO_NOT_TRACK is set", lambda found: with_environment(found, DO_NOT_TRACK="1")),
    ("METAVOX_TELEMETRY is off", lambda found: with_environment(found, METAVOX_TELEMETRY="off")),
    ("policy file", lambda found: replace(found, policy='{"telemetry": "off"}')),
    ("(CI is set)", lambda found: with_environment(found, CI="true")),
    ("superuser in somebody else's home", lambda found: replace(found, is_foreign=True)),
    ("the journal was damaged", lambda found: replace(found, is_damaged=True)),
    ("the consent file cannot be read", lambda found: replace(found, answer=Unreadable.FILE)),
    ("the answer was no", lambda found: replace(found, answer=NO)),
]
ALL_FOR_YES = Evidence(ON, policy=PERMITS, authorization=DEPLOYMENT, answer=YES)


def with_environment(found: Evidence, **variables: str) -> Evidence:
    return replace(found, environment={**found.environment, **variables})


def test_with_everything_for_a_yes_it_is_a_yes():
    assert decide(ALL_FOR_YES, NOW).granted


@pytest.mark.parametrize(("rule", "apply"), RULES, ids=[rule for rule, _ in RULES])
def test_each_rule_beats_every_yes_and_says_that_it_was_it(rule: str, apply: Callable[[Evidence], Evidence]):
    found = decide(apply(ALL_FOR_YES), NOW)

    assert not found.granted
    assert rule in found.rule


@given(st.sets(st.integers(0, len(RULES) - 2), min_size=1))  # an answer is a no or not readable, never both
def test_of_several_rules_the_first_decides(which: set[int]):
    found = ALL_FOR_YES
    for index in which:
        found = RULES[index][1](found)

    assert RULES[min(which)][0] in decide(found, NOW).rule


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything"])
def test_do_not_track_is_heard_in_any_spelling(value: str):
    assert not decision({"DO_NOT_TRACK": value}).granted


@pytest.mark.parametrize("value", ["", "0", "false", " No ", "OFF"])
def test_do_not_track_that_says_no_changes_nothing(value: str):
    assert decision({"DO_NOT_TRACK": value}).granted


@pytest.mark.parametrize("value", ["off", "0", "FALSE", "no", "nein", "perhaps", "onn", "on off", "\x00"])
def test_a_switch_that_is_not_clearly_on_is_off(value: str):
    assert not decision({"METAVOX_TELEMETRY": value}).granted


@pytest.mark.parametrize("value", ["on", "1", "TRUE", " yes ", ""])
def test_a_switch_that_is_on_or_empty_leaves_it_to_the_answer(value: str):
    assert decision({"METAVOX_TELEMETRY": value}).granted


@pytest.mark.parametrize("name", CI_VARIABLES)
def test_every_build_system_means_off_and_is_named(name: str):
    found = decision({name: "1"})

    assert not found.granted
    assert f"({name} is set)" in found.rule
    assert len(AUTOMATION[name]) > 1


def test_a_build_system_is_known_where_every_variable_is_in_capitals():
    assert not decision({"BAMBOO_PLANKEY": "PROJECT-PLAN"}).granted  # as Windows has it


def test_a_build_system_that_says_false_is_none():
    assert decision({"CI": "false", "BUILD_ID": ""}).granted


@pytest.mark.parametrize(
    "policy", ["", "{", "[]", "null", '"user"', "{}", '{"telemetry": "on"}', '{"telemetry": null}', Unreadable.FILE]
)
def test_a_policy_that_is_not_understood_forces_off(policy):
    assert not decision(policy=policy).granted


@pytest.mark.parametrize("environment", [{}, ON])
def test_a_policy_or_a_switch_alone_never_forces_on(environment: dict[str, str]):
    assert not decision(environment, policy=PERMITS, answer=None).granted


def test_who_was_not_asked_and_who_could_not_be_read_are_off_and_told_apart():
    assert decision(answer=None).rule == "nobody has been asked, or answered"
    assert RECEIPT_VARIABLE in decision(ON, answer=None).rule
    assert decision(answer=Unreadable.FILE).rule == "the consent file cannot be read or understood"


def test_a_no_and_a_not_now_are_off_and_told_apart():
    assert decision(answer=NO) == off("the answer was no")
    assert decision(answer=LATER) == off("the answer was not now")


@pytest.mark.parametrize("version", [0, SCHEMA.version - 1, SCHEMA.version + 1])
def test_a_changed_list_pauses_a_yes(version: int):
    found = decision(answer=replace(YES, schema_version=version))

    assert not found.granted
    assert "has changed since the yes" in found.rule


def test_a_changed_word_of_the_notice_pauses_a_yes():
    found = decision(answer=replace(YES, notice="cd" * 32))

    assert not found.granted
    assert "the notice has changed since the yes" in found.rule


@pytest.mark.parametrize("change", [{"dimensions": SCHEMA.dimensions[1:]}, {"units": 512}], ids=str)
def test_a_yes_to_another_list_of_the_same_version_is_paused(change: dict[str, Any]):
    assert not decide(Evidence({}, answer=YES), NOW, replace(SCHEMA, **change)).granted


@pytest.mark.parametrize("change", [{"schema_version": SCHEMA.version + 1}, {"notice": "cd" * 32}], ids=str)
def test_a_change_leaves_a_no_a_no(change: dict[str, Any]):
    assert decision(answer=replace(NO, **change)).rule == "the answer was no"


# A receipt for a deployment.


def deployed(environment: dict[str, str] = ON, now: datetime = NOW, **found: Any) -> Consent:
    return decide(Evidence(environment, **{"authorization": DEPLOYMENT, **found}), now)


def test_a_deployments_receipt_beside_the_switch_is_a_yes_of_its_own():
    assert deployed() == Consent(YES.purposes, DEPLOYMENT.answered_at, NAMED, YES.notice)
    assert deployed(answer=YES).since == DEPLOYMENT.answered_at
    assert deployed(answer=LATER).granted


def test_a_deployments_receipt_without_the_switch_is_nothing():
    assert deployed({}).rule == f"{NAMED} counts beside METAVOX_TELEMETRY=on alone"
    assert deployed({}, answer=YES).rule == FILE


@pytest.mark.parametrize(
    ("authorization", "rule"),
    [
        (Unreadable.FILE, "cannot be read or understood"),
        (YES, "is not from 'metavox telemetry authorize'"),
        (replace(YES, expires_at=DEPLOYMENT.expires_at), "is not from 'metavox telemetry authorize'"),
        (replace(DEPLOYMENT, expires_at=None), "is not from 'metavox telemetry authorize'"),
        (replace(DEPLOYMENT, purposes=frozenset()), "grants nothing"),
        (replace(DEPLOYMENT, notice="cd" * 32), "'metavox telemetry authorize' shows it again"),
        (replace(DEPLOYMENT, schema_version=SCHEMA.version + 1), "'metavox telemetry authorize' shows it again"),
        (replace(DEPLOYMENT, expires_at=NOW), "has expired"),
    ],
)
def test_a_receipt_that_was_named_and_does_not_hold_is_off_even_beside_a_recorded_yes(authorization, rule: str):
    found = deployed(authorization=authorization, answer=YES)

    assert not found.granted
    assert rule in found.rule


def test_a_deployments_receipt_holds_until_its_last_moment():
    assert DEPLOYMENT.expires_at is not None
    assert deployed(now=DEPLOYMENT.expires_at - timedelta(microseconds=1)).granted
    assert not deployed(now=DEPLOYMENT.expires_at).granted


def test_a_deployments_receipt_in_the_place_of_the_answer_is_nobodys_answer():
    found = decision(answer=DEPLOYMENT)

    assert not found.granted
    assert RECEIPT_VARIABLE in found.rule


# Whatever is found.

values = st.sampled_from(["", "0", "1", "on", "off", "true", "false", "garbage"])
environments = st.dictionaries(
    st.sampled_from(["DO_NOT_TRACK", "METAVOX_TELEMETRY", "CI", "GITHUB_ACTIONS", "PYTEST_VERSION", "HOME"]), values
)
given_answers = st.none() | st.sampled_from(
    [Unreadable.FILE, YES, NO, LATER, DEPLOYMENT, replace(YES, notice="ab" * 32), replace(YES, schema_version=0)]
)
evidence = st.builds(
    Evidence,
    environments,
    policy=st.none() | st.sampled_from([Unreadable.FILE, PERMITS, "{}", "garbage"]),
    authorization=given_answers,
    answer=given_answers,
    forced_off=st.booleans(),
    is_foreign=st.booleans(),
    is_damaged=st.booleans(),
)


@given(evidence)
def test_nothing_is_granted_without_a_yes_that_somebody_gave_to_these_words(found: Evidence):
    consent = decide(found, NOW)
    if not consent.granted:
        assert (consent.purposes, consent.since, consent.notice) == (frozenset(), None, "")
        return
    given = DEPLOYMENT if consent.rule == NAMED else YES

    assert given in (found.authorization, found.answer)
    assert (consent.purposes, consent.since, consent.notice) == (given.purposes, given.answered_at, given.notice)


@given(evidence, st.sampled_from(RULES))
def test_whatever_else_is_found_a_rule_that_forces_off_is_off(
    found: Evidence, rule: tuple[str, Callable[[Evidence], Evidence]]
):
    assert not decide(rule[1](found), NOW).granted


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(str), evidence)
def test_garbage_anywhere_is_off_and_never_an_exception(text: str, found: Evidence):
    assert not decide(replace(found, answer=understand(text), authorization=None), NOW).granted
    assert not decide(replace(found, authorization=understand(text), environment=ON), NOW).granted
    assert not decide(replace(found, policy=text), NOW).granted
    assert not decide(with_environment(found, METAVOX_TELEMETRY=f"{text}?"), NOW).granted


@given(st.integers(-(10**9), 10**9), evidence)
def test_nothing_from_before_the_yes_passes_the_gate(microseconds: int, found: Evidence):
    consent = decide(found, NOW)
    began = (consent.since or NOW) + timedelta(microseconds=microseconds)
    span = replace(example_span(), start_time=(began - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(
        microseconds=1
    ) * 1000)  # fmt: skip

    assert (gate(span, consent) is not None) == (consent.granted and microseconds >= 0)


def test_what_the_file_says_is_what_is_decided():
    assert decision(answer=understand(format_receipt(YES))) == decision()


def test_the_gate_drops_what_began_before_the_yes():
    yes = datetime.fromtimestamp(START // 10**9, timezone.utc)

    assert gate(example_span(), Consent(frozenset({"improve"}), yes, "")) == example_span()
    assert gate(example_span(), Consent(frozenset({"improve"}), yes + timedelta(seconds=1), "")) is None


def test_the_gate_drops_everything_while_off():
    early = datetime(2020, 1, 1, tzinfo=timezone.utc)

    assert gate(example_span(), off("no")) is None
    assert gate(example_span(), Consent(frozenset(), early, "")) is None
    assert gate(example_span(), Consent(frozenset({"improve"}), None, "")) is None


HERE = "https://collector.example"


@pytest.mark.parametrize("named", ["https://another.example", "http://collector.example", "not an address"])
def test_a_yes_to_one_collector_is_none_to_another(named: str):
    given = replace(YES, collector=HERE)

    found = decision({"METAVOX_COLLECTOR_URL": named}, answer=given)

    assert not found.granted
    assert found.rule == (
        "METAVOX_COLLECTOR_URL names another collector than at the yes; 'metavox telemetry on' asks anew"
    )


@pytest.mark.parametrize("named", ["", " ", HERE, f" {HERE}/ "])
def test_a_yes_to_a_collector_holds_while_that_one_or_none_is_named(named: str):
    given = replace(YES, collector=HERE)

    assert decision({"METAVOX_COLLECTOR_URL": named}, answer=given).granted
    assert decision({}, answer=given).granted


def test_a_yes_before_any_collector_was_named_is_to_the_one_that_its_person_names():
    assert decision({"METAVOX_COLLECTOR_URL": HERE}).granted


def test_a_deployments_receipt_for_one_collector_is_none_for_another():
    on = {**ON, "METAVOX_COLLECTOR_URL": "https://another.example"}
    given = replace(DEPLOYMENT, collector=HERE)

    assert not decision(on, authorization=given).granted
    assert "'metavox telemetry authorize' asks anew" in decision(on, authorization=given).rule
    assert decision({**on, "METAVOX_COLLECTOR_URL": HERE}, authorization=given).granted
