"""Compiled ops: once for a machine, safely, and without them everything still works."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from metavox_kernels.native import build

ANSWER = "int answer(void) { return 42; }"
SIMD = """
#include "simd.h"
#define EACH(name, T, step) void name(const float *x, T *y, long n) { for (long i = 0; i < n; i += LANES) step; }
EACH(exponentials, float, vf_store(y + i, vf_exp(vf_load(x + i))))
EACH(bf16, uint16_t, vf_to_bf16(y + i, vf_load(x + i)))
EACH(fp16, uint16_t, vf_to_fp16(y + i, vf_load(x + i)))
EACH(rounded, float, vf_store(y + i, vf_round(vf_load(x + i))))
EACH(from_bf16, float, vf_store(y + i, vf_from_bf16((const uint16_t *)x + i)))
EACH(from_fp16, float, vf_store(y + i, vf_from_fp16((const uint16_t *)x + i)))
EACH(from_int8, float, vf_store(y + i, vf_from_int8((const int8_t *)x + i)))
float sum(const float *x) {
    float s = 0;
    for (long i = 0; i < 16; i += LANES) s += vf_sum(vf_load(x + i));
    return s;
}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "answer.c").write_text(ANSWER)
    return folder


@pytest.fixture
def fresh():
    build._outcome.cache_clear()
    yield
    build._outcome.cache_clear()


needs_compiler = pytest.mark.skipif(build.load("linear") is None, reason=str(build.reason("linear")))


@needs_compiler
def test_a_source_is_compiled_once_into_a_folder_of_ones_own(sources, tmp_path):
    cache = tmp_path / "below" / "cache"
    assert build.open_library("answer", os.environ, sources, cache).answer() == 42
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    (library,) = cache.iterdir()
    before = library.stat().st_mtime_ns
    assert build.open_library("answer", os.environ, sources, cache).answer() == 42
    assert library.stat().st_mtime_ns == before


@needs_compiler
def test_a_changed_source_or_header_is_compiled_anew(sources, tmp_path):
    cache = tmp_path / "cache"
    (sources / "number.h").write_text("#define NUMBER 1")
    (sources / "answer.c").write_text('#include "number.h"\nint answer(void) { return NUMBER; }')
    assert build.open_library("answer", os.environ, sources, cache).answer() == 1
    (sources / "number.h").write_text("#define NUMBER 2")
    assert build.open_library("answer", os.environ, sources, cache).answer() == 2


@needs_compiler
def test_a_library_cut_short_is_compiled_anew(sources, tmp_path):
    cache = tmp_path / "cache"
    build.open_library("answer", os.environ, sources, cache)
    (library,) = cache.iterdir()
    library.unlink()  # what this process has open keeps its bytes
    library.write_bytes(b"")
    assert build.open_library("answer", os.environ, sources, cache).answer() == 42


@needs_compiler
def test_processes_that_compile_at_once_all_get_it(sources, tmp_path):
    code = f"""
import os, torch
from pathlib import Path
from metavox_kernels.native import build
sources, cache = Path({str(sources)!r}), Path({str(tmp_path / "cache")!r})
assert build.open_library("answer", os.environ, sources, cache).answer() == 42
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


@needs_compiler
def test_a_source_that_does_not_compile_says_what_the_compiler_said_and_leaves_nothing(sources, tmp_path):
    (sources / "answer.c").write_text("int answer(void) { return nowhere; }")
    with pytest.raises(build.Unavailable, match="nowhere"):
        build.open_library("answer", os.environ, sources, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("value", ["0", "off", " OFF "])
def test_the_variable_turns_it_off(sources, tmp_path, value):
    with pytest.raises(build.Unavailable, match="METAVOX_NATIVE"):
        build.open_library("answer", {**os.environ, "METAVOX_NATIVE": value}, sources, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_a_compiler_on_the_path_it_says_so(sources, tmp_path):
    with pytest.raises(build.Unavailable, match="no C compiler"):
        build.open_library("answer", {"PATH": str(tmp_path)}, sources, tmp_path / "cache")


def test_a_cache_that_cannot_be_made_is_unavailable(sources, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(build.Unavailable, match=r"answer\.c is not in use"):
        build.open_library("answer", os.environ, sources, tmp_path / "file" / "cache")


def test_a_cache_that_others_may_write_to_is_refused(sources, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(build.Unavailable, match="can be written to by others"):
        build.open_library("answer", os.environ, sources, tmp_path / "cache")


def test_a_cache_of_another_user_is_refused(sources, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(build.Unavailable, match="belongs to another user"):
        build.open_library("answer", os.environ, sources, tmp_path / "cache")


def test_load_answers_none_and_reason_says_why(fresh, monkeypatch):
    monkeypatch.setenv("METAVOX_NATIVE", "0")
    assert build.load("linear") is None
    assert "METAVOX_NATIVE" in str(build.reason("linear"))


def test_load_answers_none_where_there_is_no_home(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert build.load("linear") is None
    assert build.reason("linear")


@pytest.fixture(scope="module", params=["-march=native", "-march=haswell", "-march=x86-64"])
def simd(request, tmp_path_factory) -> ctypes.CDLL:
    """The helpers of simd.h, compiled for this machine and for smaller ones that it can stand in for."""
    features = build._machine()
    if build.load("linear") is None or ("haswell" in request.param and " avx2 " not in features):
        pytest.skip("this machine cannot compile or run it")
    if "x86-64" in request.param and not features.startswith("['linux', 'x86_64"):
        pytest.skip("not an x86-64 machine")
    folder = tmp_path_factory.mktemp("simd")
    (folder / "simd.c").write_text(SIMD)
    compiler = build._compiler(os.environ)
    command = [
        compiler,
        *build.FLAGS,
        request.param,
        f"-I{build.SOURCES}",
        folder / "simd.c",
        "-o",
        folder / "simd.so",
    ]
    subprocess.run(list(map(str, command)), check=True)
    return ctypes.CDLL(str(folder / "simd.so"))


def each(function, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    y = torch.empty(len(x), dtype=dtype)
    function(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(len(x)))
    return y


@pytest.fixture(scope="module")
def numbers() -> torch.Tensor:
    """Of all magnitudes, and those that need care."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1 << 16, generator=generator) * torch.exp(8 * torch.randn(1 << 16, generator=generator))
    odd = [float("inf"), -float("inf"), -0.0, 65519.9, 65520.0, 2.0**-24, 2.0**-25, 3 * 2.0**-25, 1.00390625]
    return torch.cat([torch.tensor(odd), x[len(odd) :]])


def test_floats_are_rounded_to_bf16_and_fp16_as_torch_rounds_them(simd, numbers):
    assert torch.equal(each(simd.bf16, numbers, torch.bfloat16), numbers.bfloat16())
    assert torch.equal(each(simd.fp16, numbers, torch.float16), numbers.half())
    nan = torch.tensor([0x7FFFFFFF] * 16, dtype=torch.int32).view(torch.float32)
    assert each(simd.bf16, nan, torch.bfloat16).isnan().all()
    assert each(simd.fp16, nan, torch.float16).isnan().all()


def test_bf16_fp16_and_int8_become_the_floats_they_are(simd):
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    for dtype, function in ((torch.bfloat16, simd.from_bf16), (torch.float16, simd.from_fp16)):
        torch.testing.assert_close(
            each(function, bits.view(dtype), torch.float32),
            bits.view(dtype).float(),
            rtol=0,
            atol=0,
            equal_nan=True,
        )
    integers = torch.arange(-128, 128).to(torch.int8)
    assert torch.equal(each(simd.from_int8, integers, torch.float32), integers.float())


def test_halves_are_rounded_to_even(simd):
    x = torch.arange(-4096, 4096) / 4
    assert torch.equal(each(simd.rounded, x, torch.float32), x.round())


def test_the_exponential_is_right_to_the_last_bits_and_zero_far_below(simd):
    x = torch.linspace(-87.2, 88.0, 1 << 16)
    exact = x.double().exp()
    assert ((each(simd.exponentials, x, torch.float32) - exact) / exact).abs().max() < 1.5e-7
    edge = torch.tensor([-float("inf"), -1e30, -88.0, 0.0, -0.0, 1e30, float("inf"), float("nan")] * 2)
    y = each(simd.exponentials, edge, torch.float32)
    assert y[:5].tolist() == [0, 0, 0, 1, 1]
    assert (y[5:7] > 1e38).all()
    assert y[7].isnan()


def test_lanes_are_summed(simd):
    simd.sum.restype = ctypes.c_float
    x = torch.arange(16.0)
    assert simd.sum(ctypes.c_void_p(x.data_ptr())) == 120
