"""Importing MetaVox costs nothing, and the engine's absence is explained."""

from __future__ import annotations

import subprocess
import sys

QUIET = """
import sys, threading
opened = []
watched = ("open", "socket.connect")
sys.addaudithook(lambda event, args: opened.append((event, str(args[0]))) if event in watched else None)
from metavox import LLM, RequestOutput, SamplingParams
SamplingParams(temperature=0)
heavy = {"torch", "transformers", "numpy", "safetensors", "tokenizers"} & set(sys.modules)
assert not heavy, heavy
assert threading.active_count() == 1
written = [name for _, name in opened if not name.endswith((".py", ".pyc", ".so", ".pth")) and ".pyc." not in name]
assert not written, written
"""

ABSENT = """
import sys
sys.modules["torch"] = None
from metavox import LLM
from metavox.errors import MetaVoxError, MissingExtra
try:
    LLM("metavox/tiny")
except MissingExtra as error:
    assert isinstance(error, ImportError) and isinstance(error, MetaVoxError)
    assert 'pip install "metavox[engine]"' in str(error), error
else:
    raise SystemExit("no error")
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_import_loads_no_torch_starts_no_thread_opens_no_file_and_prints_nothing():
    assert run(QUIET) == ""


def test_without_the_engine_extra_the_error_says_what_to_install():
    assert run(ABSENT) == ""
