from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metavox.telemetry.others import detection as others
from metavox.telemetry.others.detection import OtherTelemetry, active, found, states
from metavox.telemetry.others.libraries import LIBRARIES

LIBRARY = {library.distribution: library for library in LIBRARIES}
BY_DEFAULT = sorted(library.distribution for library in LIBRARIES if not library.on)
ON_REQUEST = sorted(library.distribution for library in LIBRARIES if library.on)


def state(library: str, **environment: str) -> OtherTelemetry:
    return states(environment, {library})[0]


@pytest.mark.parametrize("library", BY_DEFAULT)
def test_an_installed_library_is_active_until_it_is_switched_off(library: str):
    one = state(library)

    assert (one.is_on, one.decided_by) == (True, None)


@pytest.mark.parametrize(
    ("library", "variable", "value"),
    [(name, switch.variable, switch.value) for name in BY_DEFAULT for switch in LIBRARY[name].off],
)
def test_each_switch_that_is_shown_does_switch_off(library: str, variable: str, value: str):
    one = state(library, **{variable: value})

    assert (one.is_on, one.decided_by) == (False, variable)


@pytest.mark.parametrize("library", BY_DEFAULT)
def test_the_switch_that_is_shown_is_the_librarys_own(library: str):
    variable, _, value = state(library).switch_off.partition("=")

    assert variable != "DO_NOT_TRACK"
    assert not state(library, **{variable: value}).is_on


@pytest.mark.parametrize(
    ("library", "environment"),
    [
        ("vllm", {"VLLM_NO_USAGE_STATS": "true"}),  # it compares with "1"
        ("vllm", {"DO_NOT_TRACK": "0"}),
        ("ray", {"RAY_USAGE_STATS_ENABLED": "1"}),
        ("ray", {"DO_NOT_TRACK": "1"}),  # which it does not read
        ("gradio", {"GRADIO_ANALYTICS_ENABLED": "True"}),
        ("huggingface_hub", {"HF_HUB_DISABLE_TELEMETRY": "0"}),
        ("mlflow", {"DO_NOT_TRACK": "1"}),  # it compares with "true"
        ("deepeval", {"DEEPEVAL_TELEMETRY_OPT_OUT": "1"}),  # enough for late releases only
        ("lmcache", {"DO_NOT_TRACK": "1"}),  # likewise
        ("traceloop-sdk", {"TRACELOOP_TELEMETRY": ""}),
        ("haystack-ai", {"HAYSTACK_TELEMETRY_ENABLED": "TRUE"}),
        ("dvc", {"DVC_NO_ANALYTICS": ""}),
    ],
)
def test_a_value_that_a_library_does_not_take_for_off_leaves_it_on(library: str, environment: dict[str, str]):
    assert state(library, **environment).is_on


@pytest.mark.parametrize(
    ("library", "environment"),
    [
        ("gradio", {"GRADIO_ANALYTICS_ENABLED": "true"}),  # only "True" is on
        ("dagster", {"DAGSTER_DISABLE_TELEMETRY": ""}),  # being there is enough
        ("mem0ai", {"MEM0_TELEMETRY": "nonsense"}),
        ("huggingface_hub", {"DO_NOT_TRACK": "YES"}),
    ],
)
def test_a_value_that_a_library_takes_for_off_counts(library: str, environment: dict[str, str]):
    assert not state(library, **environment).is_on


@pytest.mark.parametrize("library", ON_REQUEST)
def test_a_library_that_waits_to_be_asked_is_off_until_it_is(library: str):
    assert not state(library).is_on
    for switch in LIBRARY[library].on:
        one = state(library, **{switch.variable: switch.value})
        assert (one.is_on, one.decided_by) == (True, switch.variable)
        assert one.switch_off == f"unset {switch.variable}"


def test_only_what_is_installed_and_on_is_active():
    names = [one.library for one in active({"RAY_USAGE_STATS_ENABLED": "0"}, {"vllm", "ray", "langsmith"})]

    assert names == ["vllm"]


def test_what_is_found_is_what_can_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    information = tmp_path / "vllm-0.12.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.12.0\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    assert [one.library for one in found({})] == ["vllm"]


def test_an_environment_that_cannot_be_read_has_nothing(monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str) -> None:
        raise PermissionError(name)

    monkeypatch.setattr(others.metadata, "distribution", refuse)

    assert found({}) == []


def test_looking_imports_none_of_them():
    look = (
        "import os, sys\n"
        "from metavox.telemetry.others.detection import found\n"
        "assert any(one.library == 'huggingface_hub' for one in found(os.environ))\n"
        "assert 'huggingface_hub' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_names_stand_once_in_order_and_texts_fit_a_line():
    names = [library.distribution for library in LIBRARIES]

    assert names == sorted(set(names))
    assert all(len(library.sends) <= 100 and library.sends[0].islower() for library in LIBRARIES)
