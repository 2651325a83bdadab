from __future__ import annotations

import math
from dataclasses import replace

import pytest

from metavox.telemetry.compare.released import NotARelease, PublicRelease, parse_release
from metavox.telemetry.compare.standing import (
    NothingToCompare,
    Own,
    Times,
    compare,
    nearest,
    own_of_cells,
    own_of_spans,
    share_above,
)
from metavox_privacy.anonymize import anonymize
from metavox_privacy.schema import SCHEMA
from tests.spans import example_span
from tests.unit.sdk.telemetry.compare.releases import CPU_TINY, as_bytes, cell, document, nothing

DEVICE, MODEL, FORMAT, ALONE = CPU_TINY


def release(*cells) -> PublicRelease:
    return parse_release(as_bytes(document(*cells)))


def own(key=CPU_TINY, ttft=0.02, tpot=0.004) -> Own:
    times = {"time_to_first_token": Times(ttft, 2 * ttft), "time_per_output_token": Times(tpot, 2 * tpot)}
    return Own(key, times, 10)


def test_a_machine_in_the_middle_is_faster_than_half():
    found = compare(own(), release(), SCHEMA)

    assert found.differences == {}
    assert set(found.standings) == {"time_to_first_token", "time_per_output_token"}
    for standing in found.standings.values():
        assert standing.slower == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("seconds", "slower"), [(0.0, 1), (1e-6, 1), (0.01, 0.917), (0.04, 0.083), (500.0, 0)])
def test_the_faster_a_machine_is_the_more_are_slower(seconds, slower):
    found = compare(own(ttft=seconds), release(), SCHEMA)
    assert found.standings["time_to_first_token"].slower == pytest.approx(slower, abs=0.01)


def test_a_share_is_split_inside_a_bucket_in_log_space():
    edges = (1.0, 2.0, 4.0)
    assert share_above((1, 1, 1, 1), edges, 2.0) == 0.5
    assert share_above((0, 1, 0, 0), edges, math.sqrt(2)) == pytest.approx(0.5)
    assert share_above((1, 0, 0, 0), edges, math.sqrt(0.5)) == pytest.approx(0.5), (
        "the first is as wide as the next"
    )
    assert share_above((0, 0, 0, 1), edges, math.sqrt(32)) == pytest.approx(0.5)
    assert (share_above((1, 1, 1, 1), edges, 0.0), share_above((1, 1, 1, 1), edges, 9.0)) == (1, 0)


@pytest.mark.parametrize(
    ("there", "chosen", "differs"),
    [
        ([("float32", "<=1"), ("bfloat16", "<=1")], ("float32", "<=1"), set()),
        ([("float32", ">64"), ("float32", "2-4"), ("bfloat16", "<=1")], ("float32", "2-4"), {"concurrency"}),
        ([("int8", "<=1"), ("bfloat16", "2-4")], ("int8", "<=1"), {"quantization"}),
        ([("int8", "unknown"), ("int8", ">64")], ("int8", ">64"), {"quantization", "concurrency"}),
    ],
)
def test_the_nearest_cell_is_told_with_what_differs(there, chosen, differs):
    cells = [cell((DEVICE, MODEL, *rest), contributors=100) for rest in there]
    found = compare(own(), release(*cells), SCHEMA)

    assert found.cell.key[2:] == chosen
    assert set(found.differences) == differs
    assert all(ours != theirs for ours, theirs in found.differences.values())


def test_a_release_of_a_small_fleet_is_compared_by_device_and_model_and_says_so():
    coarse = document(cell((DEVICE, MODEL)), dimensions=["accelerator", "model"])
    found = compare(own(), parse_release(as_bytes(coarse)), SCHEMA)

    assert found.cell.key == (DEVICE, MODEL, "any", "any")
    assert found.differences == {"quantization": (FORMAT, "any"), "concurrency": (ALONE, "any")}
    with pytest.raises(NotARelease, match="too few words"):
        parse_release(as_bytes(document(cell((DEVICE, MODEL)))))


def test_of_equally_near_cells_the_one_of_most_installations_is_taken():
    cells = [cell((DEVICE, MODEL, word, ALONE), contributors=n) for word, n in (("int8", 50), ("bfloat16", 900))]
    assert nearest(CPU_TINY, release(*cells), SCHEMA).contributors == 900


def test_a_cell_without_figures_is_no_match():
    hidden = cell(time_to_first_token=nothing(), time_per_output_token=nothing())
    other = cell((DEVICE, MODEL, "int8", ALONE))
    assert nearest(CPU_TINY, release(hidden, other), SCHEMA).key[2] == "int8"
    with pytest.raises(NothingToCompare):
        nearest(CPU_TINY, release(hidden), SCHEMA)


def test_a_metric_that_the_noise_hides_is_left_out():
    found = compare(own(), release(cell(time_to_first_token=nothing())), SCHEMA)
    assert set(found.standings) == {"time_per_output_token"}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("NVIDIA H100", MODEL, FORMAT, ALONE), "it has that model on 1 other device"),
        ((DEVICE, "Qwen/Qwen3-0.6B", FORMAT, ALONE), f"for this device it has {MODEL}: choose one with --model"),
        (("NVIDIA H100", "Qwen/Qwen3-0.6B", FORMAT, ALONE), "nor has it that model elsewhere"),
        (("other", MODEL, FORMAT, ALONE), "the accelerator is not in the public catalogue"),
        ((DEVICE, "other", FORMAT, ALONE), "the model is not in the public catalogue"),
        (("unknown", MODEL, FORMAT, ALONE), "the accelerator is not in the public catalogue"),
    ],
)
def test_another_device_or_model_is_never_compared_and_what_there_is_is_told(key, words):
    unlike = cell(("other", "other", FORMAT, ALONE))
    with pytest.raises(NothingToCompare, match=words):
        compare(own(key), release(cell(), unlike), SCHEMA)


def test_own_times_are_exact_and_their_key_is_that_of_a_report():
    spans = [
        example_span(gen_ai__server__time_to_first_token=0.01 * n, metavox__request__concurrency=1)
        for n in range(1, 12)
    ]
    found = own_of_spans(spans, SCHEMA)

    assert found.key == (DEVICE, MODEL, "bfloat16", "<=1")
    assert found.requests == 11
    assert found.times["time_to_first_token"] == Times(pytest.approx(0.06), pytest.approx(0.10))
    assert found.times["time_per_output_token"] == Times(0.004, 0.004)


def test_a_metric_that_no_request_has_is_not_made_up():
    span = example_span()
    without = replace(span, attributes={k: v for k, v in span.attributes.items() if "per_output_token" not in k})
    assert set(own_of_spans([without], SCHEMA).times) == {"time_to_first_token"}
    with pytest.raises(NothingToCompare):
        own_of_spans([], SCHEMA)


def counted(number, *, requests: int | None = 1, **changes):
    record = anonymize(example_span(**changes), SCHEMA)
    histograms = {
        name: tuple(number if at == bucket else 0 for at in range(SCHEMA.metric[name].buckets))
        for name, bucket in record.buckets.items()
    }
    return record.cell, requests, histograms


def test_the_journals_most_used_kind_is_taken_over_all_lengths_of_prompt():
    cells = [
        counted(4, requests=4, metavox__request__concurrency=1),
        counted(3, requests=3, gen_ai__usage__input_tokens=10_000, gen_ai__server__time_to_first_token=3.0),
        counted(2, requests=2, gen_ai__server__time_to_first_token=0.03),
        counted(9, requests=9, gen_ai__request__model="/home/somebody/private"),
        counted(9, requests=9, hw__model="a prototype"),
    ]
    found = own_of_cells(cells, None, SCHEMA)

    assert found.key == (DEVICE, MODEL, "bfloat16", "5-16")
    assert found.requests == 5
    assert found.times["time_to_first_token"].p50 == pytest.approx(3.0, rel=0.15)
    edges = SCHEMA.metric["time_per_output_token"].edges
    at = next(i for i, edge in enumerate(edges) if edge >= 0.004)
    assert edges[at - 1] <= found.times["time_per_output_token"].p50 <= edges[at]


def test_a_report_knows_proportions_alone():
    found = own_of_cells([counted(256, requests=None), counted(256, requests=None)], None, SCHEMA)
    assert found.requests is None


def test_the_journal_is_asked_for_one_model_or_says_that_it_has_none():
    cells = [counted(1), counted(5, requests=5, gen_ai__request__model="Qwen/Qwen3-0.6B")]
    assert own_of_cells(cells, None, SCHEMA).key[1] == "Qwen/Qwen3-0.6B"
    assert own_of_cells(cells, MODEL, SCHEMA).key[1] == MODEL
    assert own_of_cells(cells, "Qwen/Qwen3-1.7B", SCHEMA) is None
    assert own_of_cells([], None, SCHEMA) is None
