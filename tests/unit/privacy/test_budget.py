from dataclasses import replace

import pytest

from metavox_privacy.budget import (
    GENESIS,
    Account,
    AlreadyReleased,
    BudgetExhausted,
    LedgerBroken,
    authorize,
    epsilon,
    spent_in,
    verify,
)
from metavox_privacy.week import Week

CAP = 100


def spend(history, week, purpose="publish", nano_rho=30):
    authorization = authorize(
        history, week=week, purpose=purpose, schema_version=1, nano_rho=nano_rho, yearly_cap=CAP, sandbox=False
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


def test_the_yearly_cap_refuses_and_the_next_year_starts_anew():
    ledger = spend(spend(spend([], Week(2026, 1)), Week(2026, 2)), Week(2026, 3))
    with pytest.raises(BudgetExhausted, match="90 of the 100"):
        spend(ledger, Week(2026, 4))
    assert spent_in(spend(ledger, Week(2027, 1)), 2027) == 30


@pytest.mark.parametrize(
    "change",
    [
        *({"nano_rho": 1}, {"previous": GENESIS}, {"sequence": 5}, {"purpose": "improve"}),
        *({"sandbox": True}, {"yearly_cap": 1}, {"release": "another"}, {"schema_version": 2}),
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


def test_epsilon_follows_the_conversion_of_bun_and_steinke():
    # rho = 0.013, delta = 1e-8: 0.013 + 2 sqrt(0.013 * 18.4207) = 0.99171
    assert epsilon(13_000_000, 1e-8) == pytest.approx(0.99171, abs=1e-5)


def test_whoever_keeps_a_published_head_sees_that_the_past_was_rewritten():
    honest = spend(spend([], Week(2026, 1)), Week(2026, 2))
    rewritten = spend(spend([], Week(2026, 1), nano_rho=1), Week(2026, 2))
    verify(rewritten)
    assert rewritten[-1].hash != honest[-1].hash
