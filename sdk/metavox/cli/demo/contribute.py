"""The person's side of the demo: the question, a run, the exact bytes, the upload."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import cycle, islice

from rich.console import Console

from metavox.errors import MetaVoxError
from metavox.llm import LLM
from metavox.params import SamplingParams
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.question.ask import answer, show_notice
from metavox.telemetry.recorder import Recorder
from metavox.telemetry.upload import readable, uploader, weekly
from metavox_privacy.anonymize import CellKey
from metavox_privacy.consent import Consent
from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import QUESTIONS
from metavox_privacy.schema import SCHEMA, Schema

_OPENINGS = (
    "Once upon a time",
    "The little fox",
    "In the morning",
    "Tell me about the sea",
    "One day, a girl named",
    "It was raining and",
    "The old baker",
    "How do you make bread?",
)
_ENVIRONMENT: dict[str, str] = {}
"""The demo's home has no environment: neither your DO_NOT_TRACK nor your CI is about it."""


def agree(screen: Console, home: Home, schema: Schema) -> Consent:
    """Show the notice and say yes for the demo's own home; raises MetaVoxError if the system forbids it."""
    words = io.StringIO()
    show_notice(words, min(screen.width, 80), schema)
    screen.print(words.getvalue(), highlight=False, markup=False, end="")
    for purpose in PURPOSES:
        screen.print(f"{QUESTIONS['en'][purpose]} [y/N] y", highlight=False, markup=False)
    screen.print("(The demo says yes for its own temporary home. Your own answer is untouched.)")
    home.record(answer(frozenset(PURPOSES), schema, datetime.now(timezone.utc)))
    consent = home.consent(_ENVIRONMENT)
    if not consent.granted:
        raise MetaVoxError(f"The demo cannot show a contribution here: {consent.rule}.")
    return consent


def pipeline(home: Home) -> Contribution:
    """The pipeline of the demo's home."""
    return Contribution.from_environment(_ENVIRONMENT, home)


def run_prompts(screen: Console, number: int, contribution: Contribution) -> None:
    """Run prompts and show their speed and two of the answers."""
    import torch  # here, so that asking for help does not load it

    torch.set_num_threads(1)  # so small a model gains nothing from a second one, and loses much beside a busy core
    llm = LLM("metavox/tiny")
    llm.recorder = Recorder(llm.info, contribution)
    prompts = list(islice(_prompts(), number))
    began = time.monotonic()
    outputs = llm.generate(prompts, SamplingParams(temperature=0.7, top_p=0.9, max_tokens=64, seed=7))
    seconds = time.monotonic() - began
    contribution.flush()  # now, not some seconds later: the report is shown next
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    for output in outputs[:2]:
        text = " ".join(f"{output.prompt}{output}".split())
        screen.print(f"“{text}…”", style="italic", highlight=False, markup=False)
    screen.print(f"{len(outputs)} prompts, {tokens} tokens in {seconds:.1f} s: {tokens / seconds:.0f} tokens/s")


def _prompts() -> Iterator[str]:
    return cycle(_OPENINGS)


def send(screen: Console, home: Home, consent: Consent, url: str, now: datetime) -> set[CellKey]:
    """Print the report that is due and send those bytes; raises MetaVoxError when it is not accepted.

    Returns:
        The cells in which this run counts.
    """
    journal = Journal(home.journal_file, consent, SCHEMA, now)
    mine: set[CellKey] = set()
    for due in weekly.preview(journal, consent, SCHEMA, now):
        mine |= journal.counts(due.report.week).cells.keys()
        screen.print(readable.as_text(due.body, screen.width), highlight=False, markup=False, soft_wrap=True)
    outcomes = weekly.upload(
        journal,
        consent,
        SCHEMA,
        now,
        url,
        decide=lambda: home.consent(_ENVIRONMENT),
        force=True,
    )
    if not outcomes or not all(isinstance(outcome, uploader.Sent) for _, outcome in outcomes):
        raise MetaVoxError(f"The report was not accepted: {[outcome for _, outcome in outcomes]}.")
    screen.print("Sent, and stored by the collector before it answered.")
    return mine
