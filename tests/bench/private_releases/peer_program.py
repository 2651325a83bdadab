"""Run by the peers' own interpreter: a fleet's values -> each cell's private p50, p90 and p99.

``python peer_program.py PEER FLEET.npz '{"epsilon": 1, "delta": 1e-8, "rho": 0.0172, "cells": 3, "documented":
false}'`` prints a list of three numbers a cell, null where the peer releases nothing. Each peer comes in two ways.
*Tuned*, it sees the logarithms of the values, between public bounds, because on seconds its tails are lost;
quantiles of a logarithm are the logarithms of quantiles. *As documented*, it sees seconds, and has its parameters'
defaults, or where a parameter has none, what is true of the fleet. Each is told the most cells and requests that
an installation has. The cells it may keep of each installation are chosen here for those that do not bound
contributions themselves.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LEVELS = (0.5, 0.9, 0.99)
CANDIDATES = 1000

Rows = dict[str, Any]
Answer = dict[int, list[float]]


def bounded(fleet: Rows, cells: int) -> Rows:
    """Keep so many cells of each installation, chosen at random."""
    rng = np.random.default_rng()
    order = np.lexsort((rng.random(len(fleet["cell"])), fleet["installation"]))
    numbers = fleet["installation"][order]
    first = np.concatenate(([True], numbers[1:] != numbers[:-1]))
    rank = np.arange(len(numbers)) - np.maximum.accumulate(np.where(first, np.arange(len(numbers)), 0))
    kept = np.sort(order[rank < cells])
    return {**fleet, **{name: fleet[name][kept] for name in ("installation", "cell", "values")}}


def opendp(fleet: Rows, asked: Rows) -> Answer:
    """An exponential mechanism a quantile, in pure or zero-concentrated privacy, whichever is less noise."""
    import opendp.prelude as dp

    candidates = list(np.linspace(*fleet["bounds"], CANDIDATES))
    budgets = (dp.max_divergence(), asked["epsilon"]), (dp.zero_concentrated_divergence(), asked["rho"])
    return _opendp(fleet, asked, candidates, budgets)


def opendp_documented(fleet: Rows, asked: Rows) -> Answer:
    """The same in pure privacy, ε divided evenly.

    Its candidates have no default and must be public; those of equal ratios are kinder to it than equal steps of
    0.12 s, the first of which has passed the median of many cells.
    """
    import opendp.prelude as dp

    budgets = ((dp.max_divergence(), asked["epsilon"]),)
    return _opendp(fleet, asked, list(np.geomspace(*fleet["bounds"], CANDIDATES)), budgets)


def _opendp(fleet: Rows, asked: Rows, candidates: list[float], budgets: tuple[tuple[Any, float], ...]) -> Answer:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    rows = bounded(fleet, asked["cells"])
    requests = rows["values"].shape[1]
    draws = asked["cells"] * len(LEVELS)
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.symmetric_distance()

    def mechanism(level: float) -> Any:
        """The one of least noise of those that cost the draw's part of a budget."""
        found = []
        for measure, total in budgets:

            def make(scale: float, measure: Any = measure) -> Any:
                return dp.m.make_private_quantile(*space, measure, candidates=candidates, alpha=level, scale=scale)

            found.append((dp.binary_search_param(make, d_in=requests, d_out=total / draws, T=float), make))
        scale, make = min(found, key=lambda pair: pair[0])
        return make(scale)

    mechanisms = [mechanism(level) for level in LEVELS]
    found = {}
    for cell in range(rows["count"]):
        values = rows["values"][rows["cell"] == cell].ravel().tolist()
        found[cell] = [draw(values) for draw in mechanisms]
    return found


def diffprivlib(fleet: Rows, asked: Rows) -> Answer:
    """Smith's exponential mechanism on one request of each installation: its privacy is that of one record."""
    from diffprivlib.tools import quantile

    rows = bounded(fleet, asked["cells"])
    chance = np.random.default_rng()
    values = chance.permuted(rows["values"], axis=1)[:, 0]
    draws = asked["cells"] * len(LEVELS)
    epsilon = max(asked["epsilon"] / draws, (8 * asked["rho"] / draws) ** 0.5)
    return {
        cell: [
            float(quantile(values[rows["cell"] == cell], level, epsilon=epsilon, bounds=rows["bounds"]))
            for level in LEVELS
        ]
        for cell in range(rows["count"])
    }


def diffprivlib_documented(fleet: Rows, asked: Rows) -> Answer:
    """One call a cell for all quantiles, between which it divides ε evenly.

    It protects a record, so ε is divided by the records of an installation; one record each is worse here.
    """
    from diffprivlib.tools import quantile

    rows = bounded(fleet, asked["cells"])
    epsilon = asked["epsilon"] / (asked["cells"] * rows["values"].shape[1])
    return {
        cell: quantile(
            rows["values"][rows["cell"] == cell].ravel(), LEVELS, epsilon=epsilon, bounds=rows["bounds"]
        ).tolist()
        for cell in range(rows["count"])
    }


def pipelinedp(fleet: Rows, asked: Rows, *, public: bool = True) -> Answer:
    """Its engine on one machine, which bounds contributions itself; noise on its trees of quantiles.

    The noise is Gaussian in both ways, for there is a δ to spend. On seconds Laplace's, its default, is no remedy:
    p50 is off by 84 % with it and by 100 % without, at 100,000 installations and ε = 1.
    """
    import pipeline_dp

    requests = fleet["values"].shape[1]
    accountant = pipeline_dp.NaiveBudgetAccountant(total_epsilon=asked["epsilon"], total_delta=asked["delta"])
    engine = pipeline_dp.DPEngine(accountant, pipeline_dp.LocalBackend())
    params = pipeline_dp.AggregateParams(
        metrics=[pipeline_dp.Metrics.PERCENTILE(level * 100) for level in LEVELS],
        noise_kind=pipeline_dp.NoiseKind.GAUSSIAN,
        max_partitions_contributed=asked["cells"],
        max_contributions_per_partition=requests,
        min_value=fleet["bounds"][0],
        max_value=fleet["bounds"][1],
    )
    extractors = pipeline_dp.DataExtractors(
        privacy_id_extractor=lambda row: row[0],
        partition_extractor=lambda row: row[1],
        value_extractor=lambda row: row[2],
    )
    rows = list(
        zip(
            np.repeat(fleet["installation"], requests).tolist(),
            np.repeat(fleet["cell"], requests).tolist(),
            fleet["values"].ravel().tolist(),
            strict=True,
        )
    )
    cells = list(range(fleet["count"])) if public else None
    result = engine.aggregate(rows, params, extractors, public_partitions=cells)
    accountant.compute_budgets()
    return {cell: [float(value) for value in metrics] for cell, metrics in result}


def pipelinedp_private(fleet: Rows, asked: Rows) -> Answer:
    """As above, with the cells chosen privately."""
    return pipelinedp(fleet, asked, public=False)


Peer = Callable[[Rows, Rows], Answer]
TUNED: dict[str, Peer] = {
    "opendp": opendp,
    "diffprivlib": diffprivlib,
    "pipelinedp": pipelinedp,
    "pipelinedp-private": pipelinedp_private,
}
DOCUMENTED: dict[str, Peer] = {
    "opendp": opendp_documented,
    "diffprivlib": diffprivlib_documented,
    "pipelinedp": pipelinedp,
    "pipelinedp-private": pipelinedp_private,
}


def main(peer: str, path: str, asked: str) -> None:
    """Print the peer's answer."""
    logging.disable(logging.CRITICAL)
    wanted = json.loads(asked)
    with np.load(path) as stored:
        fleet: Rows = {name: stored[name] for name in stored.files}
    low, high = (float(end) for end in fleet["bounds"])
    fleet |= {"bounds": (low, high), "count": int(fleet["count"])}
    if wanted["documented"]:
        found = DOCUMENTED[peer](fleet, wanted)
    else:
        fleet |= {"bounds": (float(np.log(low)), float(np.log(high))), "values": np.log(fleet["values"])}
        found = {cell: np.exp(row).tolist() for cell, row in TUNED[peer](fleet, wanted).items()}
    print(json.dumps([found.get(cell) for cell in range(fleet["count"])]))


if __name__ == "__main__":
    main(*sys.argv[1:])
