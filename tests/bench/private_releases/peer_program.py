"""Run by the peers' own interpreter: a fleet's values -> each cell's private p50, p90 and p99.

``python peer_program.py PEER FLEET.npz '{"epsilon": 1, "delta": 1e-8, "rho": 0.0172, "cells": 3}'`` prints a list
of three numbers a cell, null where the peer releases nothing. The peers see the logarithms of the values, between
public bounds, because on seconds their tails are lost; quantiles of a logarithm are the logarithms of quantiles.
Each is told the most cells and requests that an installation has. The cells it may keep of each installation are
chosen here for those that do not bound contributions themselves.
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

    dp.enable_features("contrib")
    rows = bounded(fleet, asked["cells"])
    requests = rows["values"].shape[1]
    draws = asked["cells"] * len(LEVELS)
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.symmetric_distance()
    candidates = list(np.linspace(*rows["bounds"], CANDIDATES))

    def mechanism(level: float) -> Any:
        """The one of less noise of the two that cost the draw's part of the budget."""
        found = []
        for measure, total in (
            (dp.max_divergence(), asked["epsilon"]),
            (dp.zero_concentrated_divergence(), asked["rho"]),
        ):

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


def pipelinedp(fleet: Rows, asked: Rows, *, public: bool = True) -> Answer:
    """Its engine on one machine, which bounds contributions itself; Gaussian noise on its trees of quantiles."""
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


PEERS: dict[str, Callable[[Rows, Rows], Answer]] = {
    "opendp": opendp,
    "diffprivlib": diffprivlib,
    "pipelinedp": pipelinedp,
    "pipelinedp-private": pipelinedp_private,
}


def main(peer: str, path: str, asked: str) -> None:
    """Print the peer's answer."""
    logging.disable(logging.CRITICAL)
    with np.load(path) as stored:
        fleet: Rows = {name: stored[name] for name in stored.files}
    low, high = (float(np.log(end)) for end in fleet["bounds"])
    fleet |= {"bounds": (low, high), "values": np.log(fleet["values"]), "count": int(fleet["count"])}
    found = PEERS[peer](fleet, json.loads(asked))
    print(json.dumps([np.exp(found[cell]).tolist() if cell in found else None for cell in range(fleet["count"])]))


if __name__ == "__main__":
    main(*sys.argv[1:])
