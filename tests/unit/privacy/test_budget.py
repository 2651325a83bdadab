import math
from dataclasses import replace

import opendp.prelude as dp
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import rdp_privacy_accountant
from scipy.special import log_ndtr

from metavox_privacy.budget import (
    GENESIS,
    Account,
    AlreadyReleased,
    BudgetExhausted,
    LedgerBroken,
    NotReleased,
    authorize,
    correct,
    epsilon,
    releases_in,
    spent_in,
    verify,
)
from metavox_privacy.week import Week

CAP = 100
SPACE = dp.atom_domain(T="i64"), dp.absolute_distance(T=float)


def spend(history, week, purpose="publish", nano_rho=30, weeks=1, schema_version=1):
    authorization = authorize(
        history,
        week=week,
        weeks=weeks,
        purpose=purpose,
        schema_version=schema_version,
        nano_rho=nano_rho,
        yearly_cap=CAP,
        sandbox=False,
    )
    return [*history, authorization.settle("a release's hash")]


def test_entries_are_chained_from_the_first():
    ledger = spend(spend([], Week(2026, 1)), Week(2026, 2))
    assert [entry.sequence for entry in ledger] == [1, 2]
    assert ledger[0].previous == GENESIS
    assert ledger[1].previous == ledger[0].hash
    verify(ledger)


def test_a_week_is_released_once_for_each_purpose():
    ledger = spend([], Week(2026, 1))
    with pytest.raises(AlreadyReleased, match="2026-W01"):
        spend(ledger, Week(2026, 1))
    assert len(spend(ledger, Week(2026, 1), purpose="improve")) == 2


def test_another_version_of_the_schema_opens_no_week_again_and_no_budget():
    ledger = spend([], Week(2026, 1), nano_rho=CAP)
    with pytest.raises(AlreadyReleased):
        spend(ledger, Week(2026, 1), schema_version=2)
    with pytest.raises(BudgetExhausted):
        spend(ledger, Week(2026, 2), schema_version=2)


def test_the_yearly_cap_refuses_and_the_next_year_starts_anew():
    ledger = spend(spend(spend([], Week(2026, 1)), Week(2026, 2)), Week(2026, 3))
    with pytest.raises(BudgetExhausted, match="90 of the 100"):
        spend(ledger, Week(2026, 4))
    assert spent_in(spend(ledger, Week(2027, 1)), 2027) == 30


def test_the_purposes_of_a_year_are_paid_from_one_budget_for_somebody_can_be_in_both():
    ledger = spend(spend([], Week(2026, 1), "improve", 60), Week(2026, 1), "publish", 40)
    assert spent_in(ledger, 2026) == CAP
    for purpose in ("improve", "publish"):
        with pytest.raises(BudgetExhausted, match="100 of the 100"):
            spend(ledger, Week(2026, 2), purpose, 1)


def test_weeks_around_new_year_are_paid_in_both_years():
    # Whoever takes part in 2026 alone is in them as well, and was told that the year costs no more than its cap.
    ledger = spend([], Week(2026, 50), nano_rho=80)
    with pytest.raises(BudgetExhausted, match="80 of the 100 of 2026"):
        spend(ledger, Week(2027, 1), weeks=4)
    ledger = spend(spend([], Week(2027, 1), weeks=4, nano_rho=80), Week(2027, 2), nano_rho=20)
    assert list(ledger[0].years) == [2026, 2027]
    assert (spent_in(ledger, 2025), spent_in(ledger, 2026), spent_in(ledger, 2027)) == (0, 80, 100)
    with pytest.raises(BudgetExhausted, match="100 of the 100 of 2027"):
        spend(ledger, Week(2027, 3), nano_rho=1)
    with pytest.raises(BudgetExhausted, match="80 of the 100 of 2026"):
        spend(ledger, Week(2026, 49), nano_rho=21)


@pytest.mark.parametrize(
    "change",
    [
        *({"nano_rho": 1}, {"previous": GENESIS}, {"sequence": 5}, {"purpose": "improve"}),
        *({"sandbox": True}, {"yearly_cap": 1}, {"release": "another"}, {"schema_version": 2}),
        *({"weeks": 4}, {"scope": "coarse"}, {"reason": "withdrawn"}),
    ],
)
def test_an_altered_entry_breaks_the_chain(change):
    ledger = spend(spend([], Week(2026, 1)), Week(2026, 2))
    ledger[1] = replace(ledger[1], **change)
    with pytest.raises(LedgerBroken):
        verify(ledger)


def test_a_removed_entry_breaks_the_chain():
    ledger = spend(spend([], Week(2026, 1)), Week(2026, 2))
    with pytest.raises(LedgerBroken):
        spend(ledger[1:], Week(2026, 3))


def test_an_account_never_pays_more_than_its_entry():
    account = Account(
        authorize(
            [], week=Week(2026, 1), purpose="publish", schema_version=1, nano_rho=30, yearly_cap=CAP, sandbox=False
        )
    )
    account.debit(20)
    with pytest.raises(BudgetExhausted):
        account.debit(11)
    assert account.left == 10


@pytest.mark.parametrize("delta", [1e-10, 1e-8, 1e-5])
@pytest.mark.parametrize("nano_rho", [1, 100_000, 2_500_000, 17_000_000, 900_000_000, 10_000_000_000])
def test_epsilon_is_what_dp_accounting_and_opendp_make_of_it(nano_rho, delta):
    # Fine where the least is, and far out: dp-accounting looks at these orders alone.
    accountant = rdp_privacy_accountant.RdpAccountant([1 + math.exp(n / 40) for n in range(-200, 700)])
    accountant.compose(dp_event.ZCDpEvent(nano_rho / 1e9))
    assert epsilon(nano_rho, delta) == pytest.approx(accountant.get_epsilon(delta), rel=2e-4)
    dp.enable_features("contrib")
    measured = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*SPACE, scale=(2 * nano_rho / 1e9) ** -0.5))
    assert epsilon(nano_rho, delta) == pytest.approx(measured.map(1.0).epsilon(delta), rel=2e-4)


@pytest.mark.parametrize("delta", [1e-100, 1e-15, 1e-8, 0.01, 0.5])
@pytest.mark.parametrize("nano_rho", [10**n for n in range(3, 19, 3)])
def test_epsilon_never_claims_too_little_however_small_or_large_the_budget_is(nano_rho, delta):
    # The exact delta of the Gaussian mechanism of that rho (Balle and Wang 2018, theorem 8), in logarithms.
    mu, claimed = math.sqrt(2 * nano_rho / 1e9), epsilon(nano_rho, delta)
    absent, present = log_ndtr(-mu / 2 - claimed / mu) + claimed, log_ndtr(mu / 2 - claimed / mu)
    assert present + math.log1p(-math.exp(absent - present)) <= math.log(delta)


def test_epsilon_claims_no_less_than_what_bun_and_steinke_proved_by_far_and_nothing_costs_nothing():
    rho = 0.017
    assert 0.8 < epsilon(17_000_000, 1e-8) / (rho + 2 * math.sqrt(rho * math.log(1e8))) < 1
    assert epsilon(0, 1e-8) == 0


def test_weeks_that_were_released_together_are_released_once_each():
    ledger = spend([], Week(2026, 8), weeks=4)
    assert ledger[0].first_week == Week(2026, 5)
    for week, weeks in ((Week(2026, 5), 1), (Week(2026, 8), 1), (Week(2026, 11), 4), (Week(2026, 6), 4)):
        with pytest.raises(AlreadyReleased, match="2026-W0"):
            spend(ledger, week, weeks=weeks)
    assert len(spend(spend(ledger, Week(2026, 4)), Week(2026, 12), weeks=4)) == 3


def test_a_correction_is_an_entry_that_costs_nothing_and_draws_nothing():
    ledger = spend(spend([], Week(2026, 1)), Week(2026, 2))
    corrected = [*ledger, correct(ledger, week=Week(2026, 1), purpose="publish", reason="figures corrected")]
    verify(corrected)
    assert (corrected[-1].release, corrected[-1].nano_rho) == (ledger[0].release, 0)
    assert spent_in(corrected, 2026) == spent_in(ledger, 2026)
    assert releases_in(corrected) == ledger
    with pytest.raises(AlreadyReleased):  # a correction does not open the week again
        spend(corrected, Week(2026, 1))


def test_only_what_was_released_and_not_withdrawn_can_be_corrected():
    ledger = spend([], Week(2026, 1))
    with pytest.raises(NotReleased, match="2026-W02"):
        correct(ledger, week=Week(2026, 2), purpose="publish", reason="withdrawn")
    with pytest.raises(NotReleased, match="improve"):
        correct(ledger, week=Week(2026, 1), purpose="improve", reason="withdrawn")
    withdrawn = [*ledger, correct(ledger, week=Week(2026, 1), purpose="publish", reason="withdrawn")]
    with pytest.raises(NotReleased, match="last word"):
        correct(withdrawn, week=Week(2026, 1), purpose="publish", reason="documents corrected")
    with pytest.raises(ValueError, match="take one of: withdrawn"):
        correct(ledger, week=Week(2026, 1), purpose="publish", reason="")


def test_whoever_keeps_a_published_head_sees_that_the_past_was_rewritten():
    honest = spend(spend([], Week(2026, 1)), Week(2026, 2))
    rewritten = spend(spend([], Week(2026, 1), nano_rho=1), Week(2026, 2))
    verify(rewritten)
    assert rewritten[-1].hash != honest[-1].hash
