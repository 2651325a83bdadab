"""Servers that fork and pools of processes: nobody waits for ever, and every request is counted once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.telemetry.shared import agree, clean_environment, home_of, requests_in, run

START = """
import os, signal, sys, threading, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from metavox.telemetry import ContributionProcessor
from tests.integration.telemetry.programs import use

def served(requests, threads=1):
    signal.alarm(60)  # a worker that waits for ever is killed, which the master tells
    each = [threading.Thread(target=use, args=(provider, requests // threads)) for _ in range(threads)]
    [thread.start() for thread in each]
    [thread.join() for thread in each]

provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(ContributionProcessor())
"""

PREFORK = (
    START
    + """
def spawn():
    worker = os.fork()
    if worker == 0:
        try:  # as gunicorn's arbiter does
            served(40, threads=2)
            sys.exit(0)
        except SystemExit:
            raise
    return worker

use(provider, 5)
busy = threading.Thread(target=lambda: [(use(provider, 1), time.sleep(0.002)) for _ in range(100)])
busy.start()
workers = []
for _ in range(4):
    workers.append(spawn())
    time.sleep(0.02)
statuses = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
workers = [spawn()]  # in the place of one that has ended
statuses += [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
busy.join()
print(statuses)
"""
)

MIDST = (
    START
    + """
import importlib.machinery

class Slow:
    \"\"\"A disk on which modules take their time.\"\"\"

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("metavox.telemetry."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (time.sleep(0.05), execute(module))
        return spec

sys.meta_path.insert(0, Slow())
write = threading.Thread(target=lambda: (use(provider, 1), provider.force_flush()))
write.start()
workers = []
while write.is_alive() and len(workers) < 24:
    worker = os.fork()
    if worker == 0:
        served(1)
        provider.force_flush()
        sys.exit(0)
    workers.append(worker)
    time.sleep(0.01)
write.join()
print([os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers])
"""
)

POOLS = """
import multiprocessing, os, sys
from opentelemetry.sdk.trace import TracerProvider
from metavox.telemetry import ContributionProcessor
from tests.integration.telemetry.programs import use

def provide():
    global provider
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ContributionProcessor())

def work(requests):
    if "provider" not in globals():
        provide()
    use(provider, requests)
    return os.getpid()

if __name__ == "__main__":
    provide()
    use(provider, 7)
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(3) as pool:
        used = pool.map(work, [10] * 12, chunksize=1)
        pool.close()
        pool.join()
    worker = context.Process(target=work, args=(30,))
    worker.start()
    worker.join()
    print(worker.exitcode, os.getpid() in used)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    agree(home_of(tmp_path))
    return clean_environment(tmp_path, METAVOX_HOME=str(tmp_path))


def ended(script: str, environment: dict[str, str], *arguments: str) -> str:
    """What a program printed that ended well and said nothing else."""
    done = run(script, environment, *arguments, warnings="ignore")  # Python 3.12 warns of forks beside threads
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().strip()


def test_a_server_that_forks_its_workers_while_it_works_counts_each_request_once(
    tmp_path: Path, environment: dict[str, str]
):
    assert ended(PREFORK, environment) == str([0] * 5)
    assert requests_in(home_of(tmp_path)) == 5 + 100 + 5 * 40


def test_workers_that_are_forked_while_the_journal_is_written_for_the_first_time_count_and_end(
    tmp_path: Path, environment: dict[str, str]
):
    statuses = ended(MIDST, environment)

    assert set(statuses) <= set("[0, ]")
    assert requests_in(home_of(tmp_path)) == 1 + statuses.count("0")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_counts_each_request_once(tmp_path: Path, environment: dict[str, str], method: str):
    script = tmp_path / "pools.py"
    script.write_text(POOLS)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), method],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split() == [b"0", b"False"]
    assert requests_in(home_of(tmp_path)) == 7 + 120 + 30
