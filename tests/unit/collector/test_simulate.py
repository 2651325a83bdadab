from __future__ import annotations

from collections import Counter

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_collector.simulate.fleet import fleet
from metavox_collector.simulate.profiles import PROFILES
from metavox_privacy.fields import OTHER, UNKNOWN
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import decode, encode
from tests.spans import WEEK

REPORTS = list(fleet(300, WEEK, SCHEMA, seed=7))


def test_the_same_seed_makes_the_same_fleet_and_another_does_not():
    assert list(fleet(20, WEEK, SCHEMA, seed=7)) == REPORTS[:20]
    assert list(fleet(20, WEEK, SCHEMA, seed=8)) != REPORTS[:20]


def test_every_report_says_that_it_is_synthetic_and_passes_the_receiver():
    assert len(REPORTS) == 300
    assert all(report.synthetic for report in REPORTS)
    request = ExportTraceServiceRequest.FromString(encode(REPORTS, SCHEMA))
    assert decode(request, SCHEMA) == REPORTS


def test_every_profile_is_made_of_public_names():
    assert len(PROFILES) == 12
    for profile in PROFILES:
        named = {
            "model": profile.model,
            "architecture": profile.architecture,
            "quantization": profile.quantization,
            "accelerator": profile.accelerator,
            "accelerator_vendor": profile.vendor,
            "driver_major": profile.driver or "580",
            "engine": profile.engine,
            "engine_version": profile.engine_version,
            "os": profile.os,
            "cpu_arch": profile.arch,
        }
        words = {name: SCHEMA.dimension[name].kind.classify(value) for name, value in named.items()}
        assert not {name: word for name, word in words.items() if word in (OTHER, UNKNOWN)}, profile


def test_the_tiny_model_on_a_cpu_has_the_largest_share():
    position = SCHEMA.position
    models = Counter(report.cells[0].key[position["model"]] for report in REPORTS)
    assert models.most_common(1)[0][0] == "metavox/tiny"
    assert models["metavox/tiny"] > 60
    assert len(models) >= 8
    tiny = next(r.cells[0].key for r in REPORTS if r.cells[0].key[position["model"]] == "metavox/tiny")
    expected = {
        "accelerator": "CPU x86-64 AVX-512",
        "quantization": "float32",
        "engine": "metavox",
        "engine_version": "0.1",
        "os": "linux",
        "cpu_arch": "amd64",
    }
    assert {name: tiny[position[name]] for name in expected} == expected


def test_every_cell_measures_every_metric():
    assert all(set(cell.histograms) == set(SCHEMA.metric) for report in REPORTS for cell in report.cells)


def test_some_requests_fail_and_most_do_not():
    failed = sum(cell.histograms["error_rate"][1] for report in REPORTS for cell in report.cells)
    every = sum(sum(cell.histograms["error_rate"]) for report in REPORTS for cell in report.cells)
    assert 0.002 < failed / every < 0.04
