"""This machine's own times: measured now, or from the journal of somebody who said yes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from metavox.telemetry.compare.standing import NothingToCompare, Own, own_of_cells, own_of_spans
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.cli.bench.measure import Workload
    from metavox.telemetry.journal.journal import Journal, StoredReport
    from metavox_privacy.anonymize import CellKey
    from metavox_privacy.report import Histogram


def measured(model: str, settings: Mapping[str, Any], workload: Workload, say: Callable[[str], None]) -> Own:
    """Run prompts that are made up, which are never counted, and take the times of each.

    Args:
        model: What to load.
        settings: Of ``LLM``.
        workload: One number of sequences, and how often they are run.
        say: Told what is going on.

    Raises:
        MetaVoxError: if the model cannot be loaded, or the prompts do not fit.
    """
    from metavox import LLM, SamplingParams
    from metavox.cli.bench.command import check_fits, contribute_nothing
    from metavox.cli.bench.measure import random_prompts
    from metavox.engine.runner import Runner
    from metavox.telemetry.spans import request_span

    (num_seqs,) = workload.num_seqs
    params = SamplingParams(temperature=0, max_tokens=workload.output_len, ignore_eos=True)
    spans = []
    say(f"Loading {model}")
    with LLM(model, **settings, max_num_seqs=num_seqs) as llm:
        check_fits(llm, workload)
        contribute_nothing(llm)
        runner = llm._driver.engine.runner
        assert isinstance(runner, Runner)
        for number in range(workload.warmup + workload.rounds):
            say(
                f"run {number + 1 - workload.warmup} of {workload.rounds}"
                if number >= workload.warmup
                else "warm-up"
            )
            prompts = random_prompts(
                f"compare {number}", num_seqs, workload.input_len, runner.model.config.vocab_size
            )
            outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
            if number >= workload.warmup:
                spans += [request_span(output, llm.info, params, llm.recorder.hardware) for output in outputs]
    return own_of_spans(spans, SCHEMA)


def journaled(model: str | None) -> tuple[Own, str]:
    """The most used kind of request of the newest week that has one, and that week.

    Args:
        model: The only model that is looked at; None for whichever was used most.

    Raises:
        NothingToCompare: if there is no journal, or nothing in it that could be released.
        sqlite3.Error, OSError: if the journal cannot be read.
    """
    from metavox.telemetry.home.folders import Home
    from metavox.telemetry.journal.journal import Journal

    home = Home.from_environment(os.environ)
    consent = home.consent(os.environ)
    if not consent.granted:
        raise NothingToCompare(
            f"there is no journal, for contributions are off: {consent.rule}; leave out --journal to measure now"
        )
    journal = Journal(home.journal_file, consent, SCHEMA, datetime.now(timezone.utc))
    for stored in reversed(journal.reports()):
        own = own_of_cells(_cells(journal, stored), model, SCHEMA)
        if own is not None:
            return own, str(stored.week)
    what = (
        "a model and device of the public catalogue" if model is None else f"{model} on a device of the catalogue"
    )
    raise NothingToCompare(f"the journal has no request yet with {what}; leave out --journal to measure now")


def _cells(journal: Journal, stored: StoredReport) -> Iterator[tuple[CellKey, int | None, Mapping[str, Histogram]]]:
    """A week's counts; of one whose report is built only that is left, which holds proportions."""
    if stored.body is None:
        for key, counts in journal.counts(stored.week).cells.items():
            yield key, counts.requests, counts.histograms
        return
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from metavox_privacy.wire import decode

    for report in decode(ExportTraceServiceRequest.FromString(stored.body), SCHEMA):
        if isinstance(report, Report):
            for cell in report.cells:
                yield cell.key, None, cell.histograms
