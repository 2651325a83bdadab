"""Loading takes little more memory than what is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from metavox_kernels.native.build import load as load_native
from tests.checkpoints import write_checkpoint

MEASURE = """
import json, resource, sys
from pathlib import Path
import torch
from metavox.engine.loader import load_decoder
from metavox.models.registry import read_config

def load(folder):
    config = read_config(json.loads((folder / "config.json").read_text()))
    return load_decoder(folder, config, torch.bfloat16, torch.device("cpu"), quantization={quantization!r})

def peak():
    # Not getrusage: a process takes that over from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

load(Path(sys.argv[1]))  # so that what is imported and compiled on first use is there
before = peak()
decoder = load(Path(sys.argv[2]))
print(json.dumps([decoder.nbytes, peak() - before]))
"""
SMALL = {"vocab_size": 320, "num_hidden_layers": 1}
LARGE = {"vocab_size": 16384, "num_hidden_layers": 6}
SIZES = {"hidden_size": 1024, "intermediate_size": 3072, "tie_word_embeddings": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    shapes = {"small": SMALL, "large": LARGE}
    return [
        write_checkpoint(tmp_path_factory.mktemp(name), tokenizer=False, dtype=torch.bfloat16, **SIZES, **shape)
        for name, shape in shapes.items()
    ]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak where Linux keeps it")
@pytest.mark.parametrize("quantization", [None, "int8"])
def test_loading_takes_at_most_a_quarter_more_than_the_weights(folders, quantization):
    if quantization and load_native("linear") is None:
        pytest.skip("the naive twin quantizes through copies")
    command = [sys.executable, "-c", MEASURE.format(quantization=quantization), *map(str, folders)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    nbytes, growth = json.loads(result.stdout)
    assert nbytes > 60e6
    assert growth < 1.25 * nbytes
