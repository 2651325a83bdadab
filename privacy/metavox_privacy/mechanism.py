"""Noise together with its price: OpenDP's discrete Gaussian, which cannot be drawn without paying for it.

The mechanism is the integer discrete Gaussian of Canonne, Kamath and Steinke (2020, arXiv:2004.00010) as
OpenDP implements it, under zero-concentrated differential privacy. OpenDP draws from the operating
system's source of randomness; there is no seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from metavox_privacy.budget import Account


@dataclass(frozen=True, slots=True)
class GaussianMechanism:
    """Adds integer noise to a vector of integers.

    Attributes:
        sensitivity: The L2 distance by which one installation can move the vector.
        scale: The noise's standard deviation, near enough for scales above 1.
        nano_rho: What one draw costs by OpenDP's privacy map, rounded up.
    """

    sensitivity: float
    scale: float
    nano_rho: int

    def draw(self, values: Sequence[int], account: Account) -> list[int]:
        """Pay, then release the values with noise; raises BudgetExhausted before anything is drawn."""
        account.debit(self.nano_rho)
        noisy: list[int] = _measurement(self.scale)(list(values)) if values else []
        return noisy


def gaussian(*, squared_sensitivity: int, nano_rho: int) -> GaussianMechanism:
    """The mechanism of least noise that costs at most ``nano_rho``.

    Args:
        squared_sensitivity: The square of the L2 sensitivity, an integer so that no rounding hides in it.
        nano_rho: The budget in nano-ρ, above zero.

    Raises:
        ValueError: if the budget is not above zero.
    """
    if nano_rho <= 0:
        raise ValueError(f"a mechanism needs a budget above zero, got {nano_rho} nano-rho")
    sensitivity = math.nextafter(math.sqrt(squared_sensitivity), math.inf)
    scale = sensitivity / math.sqrt(2 * nano_rho / 1e9)
    while _price(scale, sensitivity) > nano_rho:
        scale *= 1 + 1e-9
    return GaussianMechanism(sensitivity, scale, _price(scale, sensitivity))


def _price(scale: float, sensitivity: float) -> int:
    rho: float = _measurement(scale).map(sensitivity)
    return math.ceil(Fraction(rho) * 10**9)  # exactly: a product of floats could be rounded down


def _measurement(scale: float) -> Any:  # opendp's constructors are untyped
    import opendp.prelude as dp  # here, for a collector that stores and serves releases saves its 40 MB

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    return dp.m.make_gaussian(*space, scale=scale)
