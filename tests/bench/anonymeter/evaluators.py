"""Run by the peers' interpreter, which has anonymeter: CSV files in, JSON out. It imports nothing of ours."""

import json
import sys
import warnings

import pandas
from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator

KEY = ["accelerator", "model", "quantization", "concurrency"]
CONFIDENCE = 0.998  # two-sided, so that each end is one-sided with 99.9 %


def main() -> None:
    ori, other, synthetic = (pandas.read_csv(path) for path in sys.argv[1:4])
    attacks = int(sys.argv[4])
    values = [name for name in ori.columns if name not in KEY]
    found = {}
    for columns in (2, 4):
        evaluator = SinglingOutEvaluator(
            ori=ori, syn=synthetic, control=other, n_attacks=attacks, n_cols=columns, max_attempts=200_000
        )
        found[f"singling out, {columns} columns"] = evaluator.evaluate(mode="multivariate")
    columns = list(ori.columns)
    found["linkability of two halves"] = LinkabilityEvaluator(
        ori=ori, syn=synthetic, control=other, aux_cols=(columns[::2], columns[1::2]), n_attacks=attacks
    ).evaluate(n_jobs=1)
    for secret in ("model", values[0]):
        known = [name for name in ori.columns if name != secret]
        found[f"inference of {secret}"] = InferenceEvaluator(
            ori=ori,
            syn=synthetic,
            control=other,
            aux_cols=known,
            secret=secret,
            regression=secret != "model",
            n_attacks=attacks,
        ).evaluate(n_jobs=1)
    json.dump({name: _numbers(one) for name, one in found.items()}, sys.stdout)


def _numbers(evaluator) -> dict:
    results = evaluator.results(confidence_level=CONFIDENCE)
    with warnings.catch_warnings():  # a risk below zero is told, too
        warnings.simplefilter("ignore")
        risk = results.risk()
    return {
        "attack": results.attack_rate.value,
        "attack_error": results.attack_rate.error,
        "baseline": results.baseline_rate.value,
        "control": results.control_rate.value,
        "control_error": results.control_rate.error,
        "risk": risk.value,
        "risk_low": risk.ci[0],
        "risk_high": risk.ci[1],
    }


if __name__ == "__main__":
    main()
