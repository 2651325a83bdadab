"""``metavox telemetry authorize``."""

from __future__ import annotations

import json
import os
import sys

from metavox.cli import console
from metavox.cli.telemetry.on import ask
from metavox.cli.telemetry.shared import AsJson, Out, clear_errors, tell, write_new
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import RECEIPT_VARIABLE


def authorize(out: Out = None, as_json: AsJson = False) -> None:
    """At a terminal, mint a receipt with which servers and containers contribute; for you it changes nothing."""
    from metavox.telemetry.question.answering import Question
    from metavox.telemetry.question.ask import for_deployment
    from metavox_privacy.receipt import format_receipt

    if not console.on_terminals(stdout=False):
        console.fail("a yes needs a person at a terminal", code=2)
    if out is not None and os.path.lexists(out):  # told before the questions, and checked again by the writing
        console.fail(f"{out} is there already; name a file that is not")
    with clear_errors():
        question = Question.put(os.environ, Home.from_environment(os.environ), sys.stderr.encoding)
        purposes = ask(question, is_deployment=True)
        if not purposes:
            console.fail("nothing was granted, so there is no receipt")
        given = for_deployment(question.answered(purposes))
        text = format_receipt(given)
        if out is not None:
            write_new(out, text)
    if out is None:
        console.part(f"{json.dumps(json.loads(text))}\n" if as_json else text)
    elif as_json:
        facts = {"file": out, "purposes": sorted(purposes), "expires_at": given.expires_at}
        tell(facts, as_json=True)
    alone = f", for {given.collector} alone" if given.collector else ""
    console.note(
        f"It holds until {given.expires_at:%Y-%m-%d}, and as long as the list and the notice stay as they are"
        f"{alone}. Where it is to hold, set METAVOX_TELEMETRY=on and {RECEIPT_VARIABLE} to the file's path."
    )
