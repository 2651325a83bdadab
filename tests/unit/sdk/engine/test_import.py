"""Importing MetaVox costs nothing, and the engine's absence is explained."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import metavox

QUIET = """
import sys, threading
opened = []
watched = ("open", "socket.connect")
sys.addaudithook(lambda event, args: opened.append((event, str(args[0]))) if event in watched else None)
from metavox import LLM, MetaVoxError, RequestOutput, SamplingParams
SamplingParams(temperature=0)
heavy = {"torch", "transformers", "numpy", "safetensors", "tokenizers"} & set(sys.modules)
assert not heavy, heavy
assert threading.active_count() == 1
written = [name for _, name in opened if not name.endswith((".py", ".pyc", ".so", ".pth")) and ".pyc." not in name]
assert not written, written
"""

ABSENT = """
import sys
missing, model = sys.argv[1:]
sys.modules[missing] = None
from metavox import LLM
from metavox.errors import MetaVoxError, MissingExtra
try:
    LLM(model)
except MissingExtra as error:
    assert isinstance(error, ImportError) and isinstance(error, MetaVoxError)
    assert error.name == missing and 'pip install "metavox[engine]"' in str(error), error
else:
    raise SystemExit("no error")
"""


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_import_loads_no_torch_starts_no_thread_opens_no_file_and_prints_nothing():
    assert run(QUIET) == ""


@pytest.mark.parametrize(
    ("missing", "model"),
    [("torch", "metavox/tiny"), ("transformers", "metavox/tiny"), ("huggingface_hub", "no-such-owner/name")],
)
def test_without_a_part_of_the_engine_extra_the_error_says_what_to_install(missing, model):
    assert run(ABSENT, missing, model) == ""


def test_completion_offers_what_is_loaded_late_and_nothing_that_was_only_imported():
    offered = dir(metavox)
    assert {"AsyncLLM", "LLM", "telemetry", "__version__"} <= set(offered)
    assert "import_module" not in offered
    assert all(hasattr(metavox, name) for name in offered)
    assert metavox.__version__ == version("metavox")
