"""anonymeter's evaluators on records that are made up from a release, and on a copy of the fleet, as JSON in out/.

Giomi et al. 2023 (arXiv:2211.10459). Each attack is made on the fleet that was released and on a control fleet that
was not; what it gains on the first over the second is what the release gave away. It must not gain more than ρ lets
one installation be told by, 2 Φ(μ/2) - 1; and on a copy of the fleet, where nothing protects, one attack by each
criterion must gain more.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metavox_collector.proof.attacks import Parameters
from metavox_collector.proof.attacks.bounds import advantage
from metavox_collector.proof.attacks.fleet import Fleet, simulated
from metavox_collector.settings import Settings
from metavox_privacy.release import make_release
from metavox_privacy.schema import SCHEMA
from tests.bench.anonymeter.records import synthetic_records, true_records, write

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PEERS = ROOT / ".venv/bench-privacy/bin/python"
OUT = ROOT / "out/anonymeter.json"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--installations", type=int, default=20_000)
    arguments.add_argument("--attacks", type=int, default=1000)
    chosen = arguments.parse_args()
    parameters = Parameters(SCHEMA, Settings().nano_rho("publish"))
    limit = advantage(parameters.mu)
    fleet, other = (simulated(parameters, chosen.installations) for _ in range(2))
    found = _attacked(fleet, other, chosen.attacks)
    result = {"installations": len(fleet.reports), "attacks": chosen.attacks, "limit": limit, **found}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1))
    _show(result)
    if not all(_holds(one, limit) for one in found["release"].values()):
        sys.exit("an attack gains more from the release than it may")
    for criterion in ("singling out", "linkability", "inference"):
        copied = [one for attack, one in found["copy"].items() if attack.startswith(criterion)]
        if all(_holds(one, limit) for one in copied):
            sys.exit(f"{criterion} gains nothing even from a copy of the fleet, and so shows nothing")


def _attacked(fleet: Fleet, other: Fleet, attacks: int) -> dict[str, dict[str, dict[str, float]]]:
    release = make_release(fleet.sums, fleet.parameters.schema, fleet.parameters.authorization())
    with tempfile.TemporaryDirectory() as folder:
        ori, control, synthetic = (Path(folder) / f"{name}.csv" for name in ("ori", "control", "synthetic"))
        write(true_records(fleet), ori)
        write(true_records(other), control)
        write(synthetic_records(release, fleet, random.Random()), synthetic)
        return {
            "release": _evaluated(ori, control, synthetic, attacks),
            "copy": _evaluated(ori, control, ori, attacks),
        }


def _evaluated(ori: Path, control: Path, synthetic: Path, attacks: int) -> dict[str, dict[str, float]]:
    command = [PEERS, HERE / "evaluators.py", ori, control, synthetic, str(attacks)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"anonymeter has failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _gain(one: dict[str, float]) -> tuple[float, float]:
    """What is gained over the control fleet, and the least that it is with 99.9 % confidence or more."""
    gain = one["attack"] - one["control"]
    return gain, gain - one["attack_error"] - one["control_error"]


def _holds(one: dict[str, float], limit: float) -> bool:
    return _gain(one)[1] <= limit


def _show(result: dict) -> None:
    table = Table("records", "attack", "on the fleet", "on the control", "by chance", "gain", "at least", "risk")
    for name in ("release", "copy"):
        for attack, one in result[name].items():
            gain, least = _gain(one)
            numbers = (one["attack"], one["control"], one["baseline"], gain, least, one["risk"])
            table.add_row(name, attack, *(f"{number:.3f}" for number in numbers))
    Console(width=120).print(table, f"allowed gain {result['limit']:.3f}; written to {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
