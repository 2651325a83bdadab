"""Every switch, at every entry point: no connection, no file, no thread. And where none is thrown, all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from metavox.telemetry.home.folders import Home
from metavox_privacy.automation import CI_VARIABLES
from metavox_privacy.consent import RECEIPT_VARIABLE, Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt
from metavox_privacy.schema import SCHEMA
from tests.integration.telemetry.shared import (
    agree,
    clean_environment,
    everything_in,
    home_of,
    keep_a_due_report,
    requests_in,
    run,
)
from tests.spans import BOTH

NOW = datetime.now(timezone.utc)
WALKER = "tests.integration.telemetry.walker"
COLLECTOR = "http://127.0.0.1:9"


@dataclass
class Case:
    """One way in which contributions are off, or on.

    Attributes:
        name: What it is.
        environment: Variables that are set.
        policy: The system's policy file.
        superuser: Whether the program runs as the superuser, in a home that is not theirs.
        configure: Whether the program switches contributions off itself.
        only: The entry points that are walked; () for all.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    policy: str = "/nowhere/policy.json"
    superuser: bool = False
    configure: bool = False
    only: tuple[str, ...] = ()


ENTRY_POINTS = {
    *("LLM()", "LLM.generate", "LLM.chat", "LLM.stream", "LLM.stream_chat", "AsyncLLM", "a request that fails"),
    *("metavox generate", "ContributionProcessor", "metavox.instrument"),
}
MOST = (*sorted(ENTRY_POINTS), "telemetry.status()", "metavox telemetry status", "metavox telemetry upload")
"""What is walked where the files are those of a yes; the other verbs only read them, and know no switch."""
QUICK = ("LLM()", "LLM.generate", "ContributionProcessor", "metavox.instrument", "telemetry.status()")
"""What is walked for each of the many variables of build systems, after all of it for one."""

Prepare = Callable[[Home], Mapping[str, str]]
"""Puts into a home what a case needs; gives the variables that belong to it."""


def yes(home: Home) -> dict[str, str]:
    agree(home)
    keep_a_due_report(home)
    return {}


def answered(answer: Answer, schema: Any = SCHEMA) -> Prepare:
    def prepare(home: Home) -> dict[str, str]:
        yes(home)
        home.consent_file.write_text(format_receipt(answer, schema))
        return {}

    return prepare


def written(content: bytes) -> Prepare:
    def prepare(home: Home) -> dict[str, str]:
        yes(home)
        home.consent_file.write_bytes(content)
        return {}

    return prepare


def instead_of_the_answer(make: Callable[[Path], object]) -> Prepare:
    def prepare(home: Home) -> dict[str, str]:
        yes(home)
        home.consent_file.unlink()
        make(home.consent_file)
        return {}

    return prepare


def damaged(home: Home) -> dict[str, str]:
    yes(home)
    home.damaged_file.write_bytes(b"what was a journal")
    return {}


def deployment(answer: Answer, *, switch: str | None = "on", own: Answer | None = None) -> Prepare:
    """A receipt for servers, with the switch beside it or not, and perhaps an answer of one's own."""

    def prepare(home: Home) -> dict[str, str]:
        receipt = home.config / "receipt.json"
        receipt.write_text(format_receipt(answer))
        if own is not None:
            home.record(own)
        return {RECEIPT_VARIABLE: str(receipt), **({} if switch is None else {"METAVOX_TELEMETRY": switch})}

    return prepare


def receipt_file(make: Callable[[Path], object]) -> Prepare:
    def prepare(home: Home) -> dict[str, str]:
        make(home.config / "receipt.json")
        return {RECEIPT_VARIABLE: str(home.config / "receipt.json"), "METAVOX_TELEMETRY": "on"}

    return prepare


def answer(*purposes: str, **changes: Any) -> Answer:
    made = Answer(frozenset(purposes), NOW - timedelta(days=1), notice_hash(SCHEMA), SCHEMA.version)  # type: ignore[arg-type]
    return replace(made, **changes)


def an_older_yes() -> str:
    """A yes to other words: what is recorded is whole and in order, and not about today's notice."""
    return format_receipt(answer(*BOTH)).replace(notice_hash(SCHEMA), "0" * 64)


NEXT_YEAR = NOW + timedelta(days=300)
OLDER = replace(SCHEMA, version=SCHEMA.version + 1)
SERVER = answer(*BOTH, scope="deployment", expires_at=NEXT_YEAR)

HOMES: dict[str, Prepare] = {
    "nobody was asked": lambda home: {},
    "nobody was asked, and it is on": lambda home: {"METAVOX_TELEMETRY": "on"},
    "a no": answered(answer()),
    "a no, and it is on": lambda home: {**answered(answer())(home), "METAVOX_TELEMETRY": "on"},
    "not now": answered(answer(ask_again_after=NEXT_YEAR)),
    "not now, long ago": answered(answer(ask_again_after=NOW - timedelta(days=1))),
    "an empty answer": written(b""),
    "an answer of nonsense": written(b"\xff\xfe\x00garbage"),
    "an answer of other JSON": written(b'{"purposes": ["improve", "publish"]}'),
    "an answer without an end": written(b'[' * 50_000),
    "an answer that is a folder": instead_of_the_answer(Path.mkdir),
    "an answer that is a dead link": instead_of_the_answer(lambda path: path.symlink_to("/nowhere")),
    "an answer that is a pipe": instead_of_the_answer(os.mkfifo),
    "other words": instead_of_the_answer(lambda path: path.write_text(an_older_yes())),
    "another list": answered(
        Answer(BOTH, NOW - timedelta(days=1), notice_hash(OLDER), OLDER.version), OLDER
    ),
    "an answer that is a deployment's": answered(SERVER),
    "a damaged journal": damaged,
    "a receipt without the switch": deployment(SERVER, switch=None),
    "a receipt that expired": deployment(answer(*BOTH, scope="deployment", expires_at=NOW - timedelta(hours=1))),
    "a receipt that is a person's own": deployment(answer(*BOTH)),
    "a receipt that grants nothing": deployment(answer(scope="deployment", expires_at=NEXT_YEAR)),
    "a receipt beside a no": deployment(SERVER, own=answer()),
    "a receipt and the switch off": deployment(SERVER, switch="off"),
    "a receipt that is not there": receipt_file(lambda path: None),
    "a receipt of nonsense": receipt_file(lambda path: path.write_bytes(b"\xff{}")),
    "a receipt that is a folder": receipt_file(Path.mkdir),
    "no place for a home": lambda home: {"METAVOX_HOME": "/dev/null/metavox"},
}  # fmt: skip

SWITCHES: dict[str, dict[str, str]] = {
    **{f"DO_NOT_TRACK={value}": {"DO_NOT_TRACK": value} for value in ("1", "true", " yes ", "2", "please")},
    **{
        f"METAVOX_TELEMETRY={value}": {"METAVOX_TELEMETRY": value}
        for value in ("off", "0", "false", "NO", "odd", "of", "on!", "none")
    },
    **{f"{name} is set": {name: "1"} for name in CI_VARIABLES},
    "CI=true, and it is on": {"CI": "true", "METAVOX_TELEMETRY": "on"},
}

POLICIES: dict[str, Callable[[Path], object]] = {
    "a policy of off": lambda path: path.write_text('{"telemetry": "off"}'),
    "a policy of on": lambda path: path.write_text('{"telemetry": "on"}'),
    "an empty policy": lambda path: path.touch(),
    "a policy that is a folder": Path.mkdir,
    "a policy that is a dead link": lambda path: path.symlink_to("/nowhere"),
}


def off_cases(folder: Path) -> list[Case]:
    """All of them, each in a home of its own; where nothing else is said its owner has said yes."""
    cases = [
        Case(name, {**made(folder, name), **prepare(home_of(folder / name))}) for name, prepare in HOMES.items()
    ]
    for name, switch in SWITCHES.items():
        only = QUICK if set(switch) & set(CI_VARIABLES[1:]) else MOST
        cases.append(Case(name, {**made(folder, "yes"), **switch}, only=only))
    for at, (name, write) in enumerate(POLICIES.items()):
        policy = folder / f"policy-{at}.json"
        write(policy)
        cases.append(Case(name, made(folder, "yes"), str(policy), only=MOST))
    foreign = made(folder, "somebody else's")
    yes(home_of(folder / "somebody else's"))
    if os.geteuid() == 0:
        os.chown(folder / "somebody else's", 12345, 12345)
    cases.append(Case("the superuser in somebody else's home", foreign, superuser=True))
    cases.append(Case("configure(enabled=False)", made(folder, "yes"), configure=True))  # for good, so the last one
    return cases


def made(folder: Path, name: str) -> dict[str, str]:
    """The variables of a home, which has a yes and a report that is due if it is called so."""
    home = folder / name
    if not home.exists():
        home.mkdir()
        if name == "yes":
            yes(home_of(home))
    return {"METAVOX_HOME": str(home), "METAVOX_COLLECTOR_URL": COLLECTOR}


def walk(
    folder: Path, cases: list[Case], *arguments: str, within: Sequence[str] = ()
) -> dict[str, dict[str, list[str]]]:
    """What the walker did in each case, by entry point; ``within`` is a command that runs it."""
    work = folder / "work"
    work.mkdir()
    done = subprocess.run(
        [*within, sys.executable, "-W", "default" if within else "error", "-m", WALKER, *arguments],
        input=json.dumps([asdict(case) for case in cases]).encode(),
        env=clean_environment(folder), cwd=work, capture_output=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-5000:]
    if arguments:
        assert list(work.iterdir()) == []
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    return found


def test_where_it_is_off_nothing_happens_at_any_entry_point(tmp_path: Path):
    cases = off_cases(tmp_path)
    before = everything_in(tmp_path)

    told = walk(tmp_path, cases, "deny")

    assert list(told) == [case.name for case in cases]
    assert {name: entries for name, entries in told.items() if entries} == {}
    (tmp_path / "work").rmdir()
    assert everything_in(tmp_path) == before


def test_where_it_is_on_each_entry_point_counts_and_sends(tmp_path: Path):
    """What the walk above looks for is there to be seen."""
    receipt = made(tmp_path, "a receipt") | deployment(SERVER)(home_of(tmp_path / "a receipt"))
    yes_and_on = {**made(tmp_path, "yes"), "METAVOX_TELEMETRY": "on"}
    cases = [Case("yes", made(tmp_path, "yes")), Case("yes, and on", yes_and_on), Case("a receipt", receipt)]

    told = walk(tmp_path, cases)

    for entries in told.values():
        assert set(entries) == ENTRY_POINTS
        written = {name for name, did in entries.items() if any("journal.sqlite3" in each for each in did)}
        assert written | {"LLM()"} == ENTRY_POINTS
    assert any("socket.connect" in each for did in told["yes"].values() for each in did)
    assert any("thread" in each for each in told["yes"]["LLM()"])
    assert requests_in(home_of(tmp_path / "yes")) == 2 * requests_in(home_of(tmp_path / "a receipt"))


def test_a_program_under_opentelemetry_instrument_does_nothing_either(tmp_path: Path):
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    if not command.exists():
        pytest.skip("opentelemetry-instrumentation is not installed")
    names = ("nobody was asked", "a no", "other words", "DO_NOT_TRACK=1", "METAVOX_TELEMETRY=odd", "CI is set")
    cases = [replace(case, only=QUICK) for case in off_cases(tmp_path) if case.name in names]
    before = everything_in(tmp_path)

    told = walk(tmp_path, cases, "deny", "instrumented", within=[str(command)])

    assert told == {name: {} for name in names}
    (tmp_path / "work").rmdir()
    assert everything_in(tmp_path) == before


WATCHED_IMPORT = """
import os, sys, threading
opened, asked = [], []
sys.addaudithook(lambda event, arguments: opened.append((event, arguments)) if event != "import" else None)

class Asked(dict):
    def __getitem__(self, name):
        asked.append(name)
        return super().__getitem__(name)

os.environ._data = Asked(os.environ._data)
os.environ.get("PROOF")
import metavox
print([name for name in map(os.fsdecode, asked) if name != "PROOF"], asked != [])
print([each for each in opened if each[0] == "open" and not str(each[1][0]).endswith((".py", ".pyc"))])
calls = ("socket", "os.", "sqlite3", "subprocess", "shutil", "tempfile")
print([each for each in opened if each[0].startswith(calls) and each[0] not in ("os.listdir", "os.scandir")])
print(threading.active_count(), "metavox.telemetry" in sys.modules)
"""


def test_importing_metavox_asks_nothing_of_the_environment_or_the_disk_so_no_switch_can_matter(tmp_path: Path):
    done = run(WATCHED_IMPORT, clean_environment(tmp_path))

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == ["[] True", "[]", "[]", "1 False"]


USED = """
from metavox import LLM, SamplingParams, telemetry
from metavox.telemetry import ContributionProcessor
from opentelemetry.sdk.trace import TracerProvider
from tests.integration.telemetry.programs import use

assert not telemetry.status().on
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(ContributionProcessor())
use(provider, 3)
provider.force_flush()
"""
GENERATED = """
llm = LLM("metavox/tiny")
llm.generate("Once", SamplingParams(max_tokens=2))
list(llm.stream("Once", SamplingParams(max_tokens=2)))
"""


@pytest.mark.parametrize(
    ("program", "switch"),
    [
        (USED, {}),
        (USED, {"CI": "true", "METAVOX_TELEMETRY": "on"}),
        (USED + GENERATED, {"DO_NOT_TRACK": "1"}),
    ],
    ids=["nobody was asked", "CI", "DO_NOT_TRACK, with an engine"],
)
def test_the_kernel_sees_no_connection_and_no_file_either(tmp_path: Path, program: str, switch: dict[str, str]):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    home, log = tmp_path / "home", tmp_path / "calls"
    home.mkdir()
    if switch:
        yes(home_of(home))
    before = everything_in(home)
    environment = clean_environment(home, METAVOX_HOME=str(home), METAVOX_COLLECTOR_URL=COLLECTOR, **switch)

    done = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-e", "trace=%network,%file", "-o", log, sys.executable, "-c", program],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=200, check=False,
    )  # fmt: skip
    if b"PTRACE" in done.stderr or b"ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.decode()[:200]}")

    assert (done.returncode, done.stderr) == (0, b"")
    calls = log.read_text(errors="replace").splitlines()
    assert any("metavox" in call for call in calls)
    assert [call for call in calls if "AF_INET" in call] == []
    writing = (
        "O_CREAT",
        "O_WRONLY",
        "O_RDWR",
        "mkdir",
        "rename",
        "unlink",
        "symlink",
        "mknod",
        "chmod",
        "truncate",
    )
    assert [call for call in calls if str(home) in call and any(each in call for each in writing)] == []
    assert everything_in(home) == before
