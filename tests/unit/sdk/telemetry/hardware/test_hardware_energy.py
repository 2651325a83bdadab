from __future__ import annotations

import sys
import threading
from dataclasses import replace

import pytest

from metavox.params import SamplingParams
from metavox.telemetry import recorder as recording
from metavox.telemetry.hardware.energy import ENERGY, EnergyReader, share_out
from metavox.telemetry.recorder import Recorder
from metavox_privacy.anonymize import anonymize
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from tests.spans import example_span
from tests.unit.sdk.telemetry.hardware.nvml import A10, H100, Device, install
from tests.unit.sdk.telemetry.kept import Kept
from tests.unit.sdk.telemetry.shared import INFO, example_output


def test_energy_is_the_sum_of_the_devices_in_joules(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, Device(H100), Device(H100))
    reader = EnergyReader(["cuda:0", "cuda:1"], {})

    first, second = reader.joules(), reader.joules()

    assert (first, second) == (10_002.0, 10_004.0)


def test_devices_are_found_once_and_again_in_a_fork(monkeypatch: pytest.MonkeyPatch):
    library = install(monkeypatch, Device(H100))
    reader = EnergyReader(["cuda"], {})
    reader.joules()
    reader.joules()
    assert library.opened == 1

    monkeypatch.setattr("metavox.telemetry.hardware.energy.os.getpid", lambda: -1)
    reader.joules()
    assert library.opened == 2


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        ([Device(A10), Device(H100)], ["cuda:0"]),  # which of them it is, is not certain
        ([Device(H100, is_divided=True)], ["cuda:0"]),  # the counter is the whole device's
        ([Device(H100)], ["cpu"]),
        ([Device(H100)], ["cuda:3"]),
        ([], ["cuda"]),
    ],
)
def test_energy_that_may_be_anothers_is_not_told(
    monkeypatch: pytest.MonkeyPatch, devices: list[Device], names: list[str]
):
    install(monkeypatch, *devices)

    assert EnergyReader(names, {}).joules() is None


def test_a_device_without_a_counter_is_asked_once(monkeypatch: pytest.MonkeyPatch):
    old = Device("NVIDIA T4")
    old.millijoules = None
    install(monkeypatch, old)
    reader = EnergyReader(["cuda"], {})
    assert reader.joules() is None

    old.millijoules = 1
    assert reader.joules() is None


def test_a_processor_costs_nothing_to_ask(monkeypatch: pytest.MonkeyPatch):
    library = install(monkeypatch, Device(H100))
    before = threading.active_count()

    EnergyReader(["cpu"], {}).joules()

    assert (library.opened, threading.active_count()) == (0, before)


def test_a_machine_without_the_library_has_no_energy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert EnergyReader(["cuda"], {}).joules() is None


def test_what_was_used_is_from_this_threads_start_on(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, Device(H100))  # one joule more with each reading
    reader = EnergyReader(["cuda"], {})
    reader.start()
    others: list[float | None] = []
    thread = threading.Thread(target=lambda: others.append(reader.used()))
    thread.start()
    thread.join()

    assert others == [None]
    assert reader.used() == 1.0
    assert reader.used() is None, "it was given away"


def test_a_driver_that_was_loaded_anew_takes_no_energy_back(monkeypatch: pytest.MonkeyPatch):
    device = Device(H100)
    install(monkeypatch, device)
    reader = EnergyReader(["cuda"], {})
    reader.start()
    device.millijoules = 0

    assert reader.used() == 0.0


def spans_of(*tokens: int) -> list[Span]:
    return [Span("chat", 0, 1, {"gen_ai.usage.output_tokens": count}) for count in tokens]


@pytest.mark.parametrize(
    ("tokens", "shares"),
    [((3,), [8.0]), ((1, 3), [2.0, 6.0]), ((0, 0), [4.0, 4.0]), ((0, 5), [0.0, 8.0]), ((), [])],
)
def test_energy_is_shared_out_by_output_tokens(tokens: tuple[int, ...], shares: list[float]):
    assert [span.attributes[ENERGY] for span in share_out(spans_of(*tokens), 8.0)] == shares


def test_energy_that_is_not_known_is_not_told():
    assert share_out(spans_of(1, 2), None) == spans_of(1, 2)


CUDA = replace(INFO, device="cuda:0")


def test_the_users_own_span_says_the_energy_of_a_request(monkeypatch: pytest.MonkeyPatch, exporter):
    install(monkeypatch, Device(H100))
    recorder = Recorder(CUDA, Kept())

    recorder.started()
    recorder.finished([(example_output(tokens=1), SamplingParams()), (example_output(tokens=3), SamplingParams())])

    assert [span.attributes[ENERGY] for span in exporter.get_finished_spans()] == [0.25, 0.75]


def test_requests_that_nobody_announced_say_no_energy(monkeypatch: pytest.MonkeyPatch, exporter):
    install(monkeypatch, Device(H100))

    Recorder(CUDA, Kept()).finished([(example_output(), SamplingParams())])

    assert ENERGY not in exporter.get_finished_spans()[0].attributes


def test_without_a_tracer_provider_no_energy_is_read(monkeypatch: pytest.MonkeyPatch):
    library = install(monkeypatch, Device(H100))
    monkeypatch.setattr(recording, "is_traced", lambda: False)
    contribution = Kept()
    recorder = Recorder(CUDA, contribution)

    recorder.started()
    recorder.finished([(example_output(), SamplingParams())])

    assert library.devices[0].millijoules == 5_000_000
    assert ENERGY not in contribution.spans[0].attributes


def test_energy_is_nothing_that_may_be_contributed():
    span = example_span()
    with_energy = replace(span, attributes={**span.attributes, ENERGY: 12.5})

    assert anonymize(with_energy, SCHEMA) == anonymize(span, SCHEMA) is not None
    assert ENERGY not in {one.attribute for one in (*SCHEMA.dimensions, *SCHEMA.metrics)}
    assert ENERGY not in {one.source for one in (*SCHEMA.dimensions, *SCHEMA.metrics)}
