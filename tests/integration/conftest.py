"""What the tests of a whole engine start from."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """torch works with one thread; small models wait for a second one longer than they work."""
    from tests.checkpoints import one_cpu_thread  # here, for not every test of this folder needs torch

    with one_cpu_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small Qwen3 with random weights and a tokenizer."""
    from tests.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("qwen3"))
