"""What telemetry costs the program that it describes, beside OpenTelemetry's SDK with its OTLP exporter.

``make bench-telemetry`` measures: importing; a request with contributions off and on; the memory after 100,000
requests while the collector is away; how long a program's end is delayed, with five kinds of collectors, one and
2,000 requests; and the speed of the bundled model with contributions off and on. It prints a table and writes
``out/telemetry.json``. Everything but the last runs in fresh processes, in homes of their own, against collectors
on this machine. The figures want the machine for themselves; the record says what share others took.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from contribution.collectors import COLLECTORS, refusing
from contribution.homes import said_yes
from contribution.report import figures, print_figures
from contribution.speed import compare_speed
from engine.machine import describe_machine
from engine.quiet import wait_until_idle, watch_others
from rich.console import Console

PROGRAMS = Path(__file__).parent / "contribution" / "programs.py"
REQUESTS = (1, 2000)


class Benchmark:
    """The sections, each a method that returns its results.

    Args:
        folder: For the homes of the programs.
        rounds: How often each is measured; medians count, and for imports the least.
    """

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder = folder
        self.rounds = rounds
        self._homes = 0

    def home(self, who: str) -> Path:
        """A fresh one; of whoever says yes, with a report of last week that is due."""
        self._homes += 1
        home = self.folder / f"home-{self._homes}"
        if who == "on":
            said_yes(home)
        return home

    def program(self, *arguments: str, who: str = "off", url: str | None = None) -> subprocess.Popen[str]:
        """Start a program in an environment that is like a person's, not like a test's."""
        environment = {"PATH": os.environ["PATH"], "METAVOX_HOME": str(self.home(who))}
        if url is not None:
            environment["METAVOX_COLLECTOR_URL"] = url
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def measured(self, name: str, who: str, number: int, url: str | None = None) -> dict[str, float]:
        """What a program says of itself: of several runs, the one with the least mean."""
        runs = []
        for _ in range(max(self.rounds // 2, 1)):
            process = self.program(str(PROGRAMS), name, who, str(number), who=who, url=url)
            runs.append(json.loads(process.communicate(timeout=600)[0]))
        return min(runs, key=lambda run: run["mean"])

    def imports(self) -> dict[str, float]:
        """Seconds from the start of Python to its end, above those of a program that does nothing."""
        programs = {
            "bare": "pass",
            "metavox": "import metavox",
            "peer": "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http.trace_exporter",
        }
        least = dict.fromkeys(programs, float("inf"))
        for _ in range(3 * self.rounds):
            for name, code in programs.items():
                began = time.perf_counter()
                self.program("-c", code).communicate(timeout=60)
                least[name] = min(least[name], time.perf_counter() - began)
        check = "import sys, metavox; print(sum(name.startswith('opentelemetry') for name in sys.modules))"
        return {
            **{name: seconds - least["bare"] for name, seconds in least.items()},
            "opentelemetry_modules": int(self.program("-c", check).communicate(timeout=60)[0]),
        }

    def off(self) -> dict[str, float]:
        """A request that nobody traces and nobody contributes."""
        return self.measured("loop", "off", 200_000)

    def on(self) -> dict[str, dict[str, float]]:
        """The caller's time of a request, and the memory after many, while the collector is away."""
        with refusing() as url:
            return {who: self.measured("cost", who, 100_000, url) for who in ("on", "peer")}

    def ends(self) -> list[dict[str, Any]]:
        """How much later a program ends than one that has not said yes."""
        rows = []
        for name, collector in COLLECTORS.items():
            for number in REQUESTS:
                with collector() as url:
                    off = self._ends("off", number, url, self.rounds)
                    on = self._ends("on", number, url, self.rounds)
                    peer = self._ends("peer", number, url, 1 if name != "healthy" else self.rounds)
                rows.append({"collector": name, "requests": number, "on": on - off, "peer": peer - off})
        return rows

    def _ends(self, who: str, number: int, url: str, rounds: int) -> float:
        seconds = []
        for _ in range(rounds):
            process = self.program(str(PROGRAMS), "end", who, str(number), who=who, url=url)
            assert process.stdout is not None
            done = float(process.stdout.readline())
            stopper = threading.Timer(120, process.kill)
            stopper.start()
            process.wait()  # with a timeout it would look now and then, some 16 ms apart
            seconds.append(time.time() - done)
            stopper.cancel()
            process.stdout.close()
        return statistics.median(seconds)

    def speed(self) -> dict[str, Any]:
        """Tokens a second of the bundled model, off and on in turns."""
        return compare_speed(self.home("on"), self.rounds)


SECTIONS: dict[str, Callable[[Benchmark], Any]] = {
    "imports": Benchmark.imports,
    "off": Benchmark.off,
    "on": Benchmark.on,
    "ends": Benchmark.ends,
    "speed": Benchmark.speed,
}


def main() -> None:
    """Run, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="What telemetry costs, beside OpenTelemetry's SDK.")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="the sections to run")
    parser.add_argument("--rounds", type=int, default=5, help="of every measurement")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for an idle machine")
    parser.add_argument("--out", type=Path, default=Path("out/telemetry.json"))
    options = parser.parse_args()
    console = Console()
    results: dict[str, Any] = {"machine": describe_machine(), "at": str(datetime.now(timezone(timedelta())))}
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(Path(folder), options.rounds)
        for name in options.only:
            console.print(f"[dim]{name}[/]")
            wait_until_idle(options.patience)
            with watch_others() as share:
                results[name] = SECTIONS[name](benchmark)
            results.setdefault("share_of_others", {})[name] = share.value
    results["figures"] = [asdict(figure) for figure in figures(results)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print_figures(console, figures(results))
    console.print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
