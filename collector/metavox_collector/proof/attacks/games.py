"""Trials -> how well each attacker did, and what the claim allows.

Every attacker takes the likelihood ratio, than which no test is better (Neyman and Pearson 1933).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metavox_collector.proof.attacks.bounds import ALPHA, Proportion, advantage, difference, true_positives
from metavox_collector.proof.attacks.trials import OUT, Floats, Integers, Trials
from metavox_collector.proof.attacks.verdicts import Measured

if TYPE_CHECKING:
    import numpy.typing as npt

    Booleans = npt.NDArray[np.bool_]

ONE_PERCENT = 2.326
"""Standard deviations above its mean that a statistic is in one of a hundred cases."""


def membership(trials: Trials, mu: float) -> Measured:
    """Is the target in the release? Its whole report is known, and all others'."""
    score = _own(trials, trials.evidence)
    present = trials.model != OUT
    return _difference(_count(score[present] > 0), _count(score[~present] > 0), advantage(mu))


def membership_at_one_percent(trials: Trials, mu: float) -> Measured:
    """The same, by an attacker who wants to be wrong of at most one in a hundred who are not in it."""
    signal, power = (_own(trials, np.nansum(part, axis=-1)) for part in (trials.signal, trials.power))
    said = signal > ONE_PERCENT * np.sqrt(power)
    present = trials.model != OUT
    hits, wrong = _count(said[present]), _count(said[~present])
    limit = true_positives(wrong.high(ALPHA / 2), mu)
    return Measured(hits.rate, hits.low(ALPHA / 2), hits.high(ALPHA / 2), limit, hits.trials + wrong.trials)


def inferred_model(trials: Trials, mu: float) -> Measured:
    """Which model does the target run? Its speed is known; where it is OUT, the guess is a guess."""
    likely = np.take_along_axis(trials.evidence, trials.speed[:, None, None, None], axis=3)[..., 0].argmax(axis=2)
    return _inferred(likely == trials.guess, trials, mu)


def inferred_speed(trials: Trials, mu: float) -> Measured:
    """How fast is the target, of so many classes? Its model is known; where it is OUT, the guess is a guess."""
    likely = np.take_along_axis(trials.evidence, trials.guess[:, :, None, None], axis=2)[:, :, 0].argmax(axis=2)
    return _inferred(likely == trials.speed[:, None], trials, mu)


def differencing(trials: Trials, mu: float) -> Measured:
    """Did the target leave between two releases, or was it never there? All others are unknown, and stay."""
    change = trials.signal[:, 0] - trials.signal[:, 1]
    power = (trials.power[:, 0] + trials.power[:, 1]) / 2
    ratio = np.nansum(change / 2 - power / 4, axis=-1)
    score = ratio[np.arange(len(ratio)), trials.guess[:, 0], trials.speed]
    there = trials.model != OUT
    left, never = there[:, 0] & ~there[:, 1], ~there.any(axis=1)
    return _difference(_count(score[left] > 0), _count(score[never] > 0), advantage(mu))


def linked_to_known(trials: Trials, mu: float) -> Measured:
    """Is who was there in the first week, and is known from elsewhere, the one of the second week, or another?

    One or the other is two changes of one installation each, so the claim is that of a group of two, 2 μ.
    """
    both, first = _both(trials), trials.model[:, 0]
    favour = _favour(trials, 1)
    says_same = np.where(first == 0, favour > 0, favour < 0)[both]
    return _linked(says_same, trials.model[both], advantage(2 * mu))


def linked(trials: Trials, mu: float) -> Measured:
    """Are the ones of two weeks the same? Nothing but the two releases is known of them.

    The likelihood of "the same" is a parity of two weeks, whose total variation is the product of theirs.
    """
    both = _both(trials)
    says_same = (_favour(trials, 0) * _favour(trials, 1) > 0)[both]
    return _linked(says_same, trials.model[both], advantage(2 * mu) ** 2)


def _own(trials: Trials, by_hypothesis: Floats) -> Floats:
    """(pairs, 2) What is said of the model and speed that the attacker has in mind."""
    pair, week = np.indices(trials.guess.shape)
    own: Floats = by_hypothesis[pair, week, trials.guess, trials.speed[:, None]]
    return own


def _favour(trials: Trials, week: int) -> Floats:
    """(pairs,) How much more likely the first model is than the second."""
    pair = np.arange(len(trials.speed))
    found = trials.evidence[pair, week, :, trials.speed]
    favour: Floats = found[:, 0] - found[:, 1]
    return favour


def _both(trials: Trials) -> Booleans:
    there: Booleans = (trials.model != OUT).all(axis=1)
    return there


def _linked(says_same: Booleans, model: Integers, limit: float) -> Measured:
    same = model[:, 0] == model[:, 1]
    return _difference(_count(says_same[same]), _count(says_same[~same]), limit)


def _inferred(right: Booleans, trials: Trials, mu: float) -> Measured:
    present = trials.model != OUT
    return _difference(_count(right[present]), _count(right[~present]), advantage(mu))


def _count(said: Booleans) -> Proportion:
    return Proportion(int(np.count_nonzero(said)), said.size)


def _difference(one: Proportion, other: Proportion, limit: float) -> Measured:
    """One rate beyond the other."""
    return Measured(one.rate - other.rate, *difference(one, other), limit, one.trials + other.trials)
