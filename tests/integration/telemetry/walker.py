"""A program that goes through every entry point for each case that it is given, and tells what happened.

Run as a script: cases as JSON on standard input, see `test_off.Case`; findings as JSON on standard output,
``{case: {entry point: [what it did]}}``. With "deny" as its argument whatever touches the network or writes a file
is refused as well as told, and the verbs are entry points too; with "instrumented" somebody has instrumented
transformers already.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.integration.telemetry.programs import use

NETWORK = ("connect", "bind", "getaddrinfo", "gethostbyname", "gethostbyaddr", "sendto", "sendmsg")
WRITES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.remove", "os.rmdir", "os.chmod")
FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

seen: list[str] = []
denies = "deny" in sys.argv
is_watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: tells of connections, and of files that are written."""
    if not is_watching:
        return
    if event.startswith("socket.") and event.removeprefix("socket.") in NETWORK:
        _tell(f"{event} {arguments[1:]}")
    elif event in WRITES or (event == "open" and _opens_to_write(*arguments)):
        _tell(f"{event} {arguments[0]}")
    elif event == "sqlite3.connect" and "mode=ro" not in str(arguments[0]):  # which writes behind Python's back
        _tell(f"{event} {arguments[0]}, to be written")


def start(thread: threading.Thread) -> None:
    """Start a thread, and tell of it if it is one of ours; older Pythons audit no threads."""
    module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
    if is_watching and module.startswith("metavox.telemetry"):
        seen.append(f"thread of {module}")
    _start(thread)


_start, threading.Thread.start = threading.Thread.start, start  # type: ignore[method-assign]


def _opens_to_write(path: object, mode: str | None, flags: int) -> bool:
    if path == os.devnull:
        return False
    return bool(mode and set(mode) & set("wax+")) or bool(flags & FLAGS)


def _tell(what: str) -> None:
    seen.append(what)
    if denies:
        raise PermissionError(f"denied: {what}")


def prove_the_guard() -> None:
    """End the program where the guard sees nothing."""
    import socket
    import sqlite3

    def of_ours() -> None:
        pass

    of_ours.__module__ = "metavox.telemetry.proof"
    attempts: list[Callable[[], object]] = [
        lambda: open("made", "w").close(),
        lambda: os.mkdir("made-too"),
        lambda: sqlite3.connect("made-as-well").close(),
        lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda: socket.getaddrinfo("localhost", 9),
        lambda: threading.Thread(target=of_ours).start(),
    ]
    for attempt in attempts:
        if not during(attempt):
            sys.exit("the guard does not work")


def during(act: Callable[[], object]) -> list[str]:
    """What an act did that is watched for."""
    global is_watching
    seen.clear()
    is_watching = True
    try:
        act()
    except OSError as error:
        if not seen:
            raise
        seen.append(f"and raised {type(error).__name__}")
    finally:
        is_watching = False
    return list(dict.fromkeys(seen))


@contextmanager
def placed(case: dict[str, Any]) -> Iterator[None]:
    """The environment, the policy file and the user of a case."""
    from metavox.telemetry import contribution
    from metavox.telemetry.home.folders import Home

    before, user, defaults = dict(os.environ), os.geteuid, Home.__init__.__defaults__
    os.environ.update(case["environment"])
    Home.__init__.__defaults__ = (Path(case["policy"]),)  # where the system's policy would be
    if case["superuser"]:
        os.geteuid = lambda: 0
    contribution._LOOKS_AGAIN = 0.0  # a second later
    try:
        yield
    finally:
        os.geteuid = user
        Home.__init__.__defaults__ = defaults
        os.environ.clear()
        os.environ.update(before)


def flushed() -> None:
    """What waits is written now, and not ten seconds later."""
    from metavox.telemetry.contribution import _living

    for each in list(_living):
        each.flush()


class Engines:
    """Every entry point of a program that runs requests. All of it is loaded once."""

    def __init__(self) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from metavox import LLM, AsyncLLM, SamplingParams, instrument
        from metavox.telemetry.foreign.instrumented import instrumented

        torch.set_num_threads(1)
        small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        self.model = LlamaForCausalLM(LlamaConfig(vocab_size=64, **small)).eval()
        self.ids = torch.tensor([[1, 2, 3]])
        self.params = SamplingParams(max_tokens=2, temperature=0, ignore_eos=True)
        self.llm = LLM("metavox/tiny")
        self.llm.generate("Once", self.params)
        self.others = AsyncLLM("metavox/tiny")
        conversation = [{"role": "user", "content": "Hello"}]
        self.messages = {"messages": conversation, "chat_template": "{{ messages[0].content }}"}
        if "instrumented" in sys.argv:
            assert "transformers" in instrumented(), "opentelemetry-instrument has not found it"
        else:
            instrument("transformers")

    def entry_points(self) -> dict[str, Callable[[], object]]:
        """By name."""
        return {
            "LLM()": self.made,
            "LLM.generate": lambda: self.llm.generate(["Once", "Twice"], self.params),
            "LLM.chat": lambda: self.llm.chat(sampling_params=self.params, **self.messages),
            "LLM.stream": lambda: list(self.llm.stream("Once", self.params)),
            "LLM.stream_chat": lambda: list(self.llm.stream_chat(sampling_params=self.params, **self.messages)),
            "AsyncLLM": lambda: asyncio.run(self.awaited()),
            "a request that fails": self.failed,
            "metavox generate": lambda: verb("generate", "Once", "--max-tokens", "2"),
            "ContributionProcessor": self.processed,
            "metavox.instrument": lambda: self.model.generate(self.ids, max_new_tokens=2, do_sample=False),
        }

    def made(self) -> None:
        from metavox.telemetry.contribution import Contribution
        from metavox.telemetry.recorder import Recorder

        for llm in (self.llm, self.others._llm):  # as the constructor does, without loading the model anew
            contribution = Contribution.from_environment(os.environ)
            contribution.begin()
            llm.recorder = Recorder(llm.info, contribution)

    async def awaited(self) -> None:
        await self.others.generate("Once", self.params)
        async for _ in self.others.stream("Once", self.params):
            pass

    def failed(self) -> None:
        self.llm.recorder.failed(RuntimeError("failed"), [(3, self.params)], start_time=time.time_ns())

    def processed(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider

        from metavox.telemetry import ContributionProcessor

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(ContributionProcessor())
        use(provider, 2)
        provider.force_flush()
        provider.shutdown()


def verb(*words: str) -> None:
    """A command in this process; nothing is a terminal."""
    from typer.testing import CliRunner

    from metavox.cli.verbs import app

    result = CliRunner().invoke(app, words)
    assert result.exit_code in (0, 1), (words, result.output, result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def verbs() -> dict[str, Callable[[], object]]:
    """The verbs that may look, and send nothing while contributions are off."""
    names = ("status", "preview", "journal", "receipt", "diff", "doctor", "export", "upload")
    return {f"metavox telemetry {name}": partial(verb, "telemetry", name) for name in names}


def looked() -> None:
    from metavox import telemetry

    assert not telemetry.status().on


def main() -> None:
    sys.addaudithook(watch)
    prove_the_guard()
    cases = json.load(sys.stdin)
    points = Engines().entry_points()
    if denies:
        points.update({"telemetry.status()": looked, **verbs()})
    told: dict[str, dict[str, list[str]]] = {}
    for case in cases:
        with placed(case):
            if case["configure"]:
                from metavox import telemetry

                telemetry.configure(enabled=False)
            told[case["name"]] = {}
            for name, act in points.items():
                if case["only"] and name not in case["only"]:
                    continue
                took = during(lambda: (act(), flushed()))  # noqa: B023  # it is called at once
                if took:
                    told[case["name"]][name] = took
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
