"""Secrets are planted wherever text may come from; none is in the journal, on the wire, in an answer or a log."""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import io
import json
import logging
import os
import shutil
import socket
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial, reduce
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

from metavox.errors import InvalidRequest
from metavox.params import SamplingParams
from metavox.telemetry import ContributionProcessor
from metavox.telemetry import contribution as contribution_module
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.foreign.aliases import ADDRESSES, ALIASES, CHOICES, DECODE, OPERATIONS, PROVIDERS, SOURCES
from metavox.telemetry.hardware import Hardware
from metavox.telemetry.hardware.detection import _detect
from metavox.telemetry.home.folders import Home
from metavox.telemetry.instrument.described import Asked, Measured, Model, hub_name, local_name
from metavox.telemetry.instrument.observer import Observer, quietly
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.recorder import Recorder
from metavox.telemetry.upload import readable, transport, uploader, weekly
from metavox_privacy.anonymize import Record
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.span import Span
from tests.integration.telemetry.canary import ALPHABETS, ENCODINGS, core, found, secrets, utf8, zipped
from tests.integration.telemetry.shared import agree, everything_in, home_of, requests_in
from tests.spans import ATTRIBUTES
from tests.unit.sdk.cli.shared import run as run_verb
from tests.unit.sdk.telemetry.shared import INFO, example_output

START = int((datetime.now(timezone.utc) - timedelta(days=14)).timestamp()) * 10**9
URL = "https://collector.example"

NAMES = sorted(
    {
        *(name for source in SOURCES for name in (source, *ALIASES.get(source, ()))),
        *(*PROVIDERS, *ADDRESSES, *OPERATIONS, *CHOICES, DECODE),
        *(
            "gen_ai.prompt",
            "gen_ai.input.messages",
            "llm.prompts",
            "input.value",
            "user.id",
            "host.name",
            "host.id",
        ),
        *("service.instance.id", "process.command_line", "enduser.id", "gen_ai.conversation.id", "http.url"),
    }
)
"""Every attribute that is read, and some of those that others write and nobody may read."""


@dataclass
class Wire:
    """A transport that keeps every byte it was given, and answers like a healthy collector."""

    heard: bytes = b""
    requests: int = 0

    def request(self, method: str, address: object, path: str, **rest: object) -> transport.Answer:
        self.heard += f"{method} {address} {path} {rest['headers']}".encode() + b"\r\n\r\n"
        self.heard += bytes(rest.get("body") or b"")  # type: ignore[call-overload]
        self.requests += 1
        return transport.Answer(204 if method == "DELETE" else 200, b"", "")


@dataclass
class Run:
    """One person's run of everything, with a secret wherever text may come from."""

    home: Home
    planted: str

    def contribute(self, attribute: str) -> int:
        """Take requests by every way there is; how many of them are to be counted."""
        named = {"OTEL_SERVICE_NAME": self.planted, "USER": self.planted}
        contribution = Contribution.from_environment(named, self.home)
        counted = self._of_ours(contribution) + self._of_an_instrumented_engine(contribution)
        counted += self._of_others(contribution, attribute)
        contribution.flush()
        return counted

    def _of_ours(self, contribution: Contribution) -> int:
        text = self.planted
        output = example_output(prompt=text, text=text)
        output = replace(output, request_id=text, metrics=replace(output.metrics, arrival_time_ns=START))
        params = SamplingParams(stop=[text])
        infos = [
            replace(INFO, requested_model=text, model_id=None),
            replace(INFO, requested_model=text, model_id=text, architecture=text, engine_version=text),
            replace(INFO, dtype=text, quantization=text, device="cpu"),
        ]
        for info in infos:
            recorder = Recorder(info, contribution)
            if info.quantization is None:
                recorder.__dict__["hardware"] = Hardware(text, text, 1, None, text, text, text)
            recorder.finished([(output, params)])
            failure = type("".join(filter(str.isidentifier, text))[:100] or "E", (RuntimeError,), {})(text)
            recorder.failed(failure, [(None, params)], start_time=START)
        return 2 * len(infos)

    def _of_an_instrumented_engine(self, contribution: Contribution) -> int:
        text = self.planted
        observer = Observer("transformers", contribution)
        asked = Asked("chat", START, settings={"gen_ai.request.user": text})
        hardware = Hardware(text, text, 1, None, text, text, text)
        for name in (local_name(text), hub_name(text.replace("\x00", ""))):
            model = Model(name, text, 7, text, hardware)
            measured = Measured(START + 10**9, finish_reasons=(text,))
            quietly(partial(observer.finished, model, [(asked, measured)]))
            quietly(partial(observer.failed, model, [asked], RuntimeError(text)))
        return 4

    def _of_others(self, contribution: Contribution, attribute: str) -> int:
        text = self.planted
        processor = ContributionProcessor(contribution)
        provider = TracerProvider(
            resource=Resource({"service.name": text, "host.name": text, text[:50]: text}), shutdown_on_exit=False
        )
        provider.add_span_processor(processor)
        here = dict.fromkeys(ADDRESSES, "localhost")
        kept = {"metavox.engine.name": "vllm", "gen_ai.operation.name": "chat", **here}
        everywhere = {**dict.fromkeys((*NAMES, text[:200], f"gen_ai.{text[:50]}"), text), **kept}
        alone = {"gen_ai.request.model": "metavox/tiny", attribute: [text, text], **kept}
        elsewhere = {**everywhere, **dict.fromkeys(ADDRESSES, text if text[0] not in "/u" else f"of {text}")}
        for attributes in (everywhere, alone, elsewhere):
            span = provider.get_tracer("others", text).start_span(text, attributes=attributes, start_time=START)
            span.add_event(text, {text[:50]: text, "exception.message": text})
            span.record_exception(RuntimeError(text))
            span.set_status(StatusCode.ERROR, text)
            span.end(START + 10**9)
        return 2


@contextlib.contextmanager
def logs() -> Iterator[io.StringIO]:
    """All that MetaVox logs, tracebacks included. What OpenTelemetry logs of its user's spans is not ours."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("metavox")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def machine_of(name: str) -> Iterator[None]:
    """A machine, and somebody at it, who are called that."""
    system = os.uname()
    named = os.uname_result((system.sysname, name, *system[2:]))
    variables = {**dict.fromkeys(("USER", "LOGNAME", "HOSTNAME", "LANGUAGE", "PWD"), name.replace("\x00", ""))}
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError):  # not every text fits into an environment
            stack.enter_context(mock.patch.dict(os.environ, variables))
        stack.enter_context(mock.patch.object(os, "uname", return_value=named))
        stack.enter_context(mock.patch.object(socket, "gethostname", return_value=name))
        stack.enter_context(mock.patch.object(getpass, "getuser", return_value=name))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = home_of(tmp_path_factory.mktemp("canary"))
    agree(made)
    return made


VERBS = ("status", "preview", "journal", "export", "receipt", "diff", "doctor")


def walk(home: Home, planted: str, attribute: str, *arguments: str) -> dict[str, bytes]:
    """The whole way of a secret's requests; what is on the disk, the wire, the screen and in the logs after it.

    Args:
        home: Of somebody who agreed.
        planted: The text with the secret.
        attribute: Which attribute holds it in a span that is in order else.
        arguments: A verb of ``metavox telemetry`` that is to show what it knows.
    """
    home.journal_file.unlink(missing_ok=True)
    wire, now = Wire(), datetime.now(timezone.utc)
    with logs() as logged, machine_of(planted), mock.patch.object(uploader, "request", wire.request):
        expected = Run(home, planted).contribute(attribute)
        journal = all_bytes(home)
        assert requests_in(home) == expected
        consent = home.consent({})
        opened = Journal(home.journal_file, consent, SCHEMA, now)
        bodies = [shown.body for shown in weekly.preview(opened, consent, SCHEMA, now)]
        outcomes = weekly.upload(opened, consent, SCHEMA, now, URL, decide=lambda: consent, force=True)
        reported = all_bytes(home)
        shown = run_verb(home.config, "telemetry", *arguments) if arguments else None
        gone = weekly.delete(home, now, sleep=lambda seconds: None)
    assert {report.week for report, _ in outcomes} == set(gone) != set()
    assert len(bodies) == 2  # that of a week that is over, and that of the one in which all the rest failed
    assert wire.requests == 2 * len(outcomes)
    assert shown is None or shown.exit_code in (0, 1), shown.exception
    return {
        "journal": journal,
        "journal with its report": reported,
        "wire": wire.heard,
        "preview": "".join(map(readable.as_text, bodies)).encode(),
        "logs": logged.getvalue().encode("utf-8", "surrogatepass"),
        "answer": b"" if shown is None else shown.output_bytes,
    }


def all_bytes(home: Home) -> bytes:
    return b"|".join(content or b"" for content in everything_in(home.config).values())


@settings(max_examples=200)
@given(secrets(), st.sampled_from(NAMES))
def test_a_secret_is_nowhere_wherever_it_was_planted(home: Home, secret: tuple[str, str], attribute: str):
    inner, planted = secret

    assert found(inner, planted, walk(home, planted, attribute)) == []


@settings(max_examples=25)
@given(secrets(), st.sampled_from(NAMES), st.sampled_from(VERBS), st.booleans())
def test_no_verb_tells_a_secret(home: Home, secret: tuple[str, str], attribute: str, verb: str, as_json: bool):
    inner, planted = secret
    places = walk(home, planted, attribute, verb, *(["--json"] if as_json else []))

    assert places["answer"]
    assert found(inner, planted, places) == []


def test_real_requests_leave_nothing_of_what_was_said(home: Home, tmp_path: Path):
    from metavox import LLM

    said = {name: core(name, 11) for name in sorted(ALPHABETS) if name != "lone surrogates"}
    folder = tmp_path / said["letters"] / "model"
    shutil.copytree(str(files("metavox") / "tiny"), folder)
    home.journal_file.unlink(missing_ok=True)
    contribution = Contribution.from_environment({}, home)
    params = SamplingParams(max_tokens=48, temperature=0, ignore_eos=True, stop=[said["digits"]])
    with logs() as logged, machine_of(said["letters"]), LLM(str(folder)) as llm:
        llm.recorder = Recorder(llm.info, contribution)
        outputs = llm.generate(
            [f"Once upon a time {secret} said" for secret in said.values()], params, use_tqdm=False
        )
        streamed = "".join(map(str, llm.stream(f"The secret is {said['composed']}", params)))
        with pytest.raises(InvalidRequest):
            llm.generate(said["emoji"] * 2000, params)
        contribution.flush()
    consent, now = home.consent({}), datetime.now(timezone.utc)
    opened = Journal(home.journal_file, consent, SCHEMA, now)
    bodies = [shown.body for shown in weekly.preview(opened, consent, SCHEMA, now)]

    assert requests_in(home) == len(said) + 1
    assert bodies
    log = logged.getvalue().encode("utf-8", "surrogatepass")
    places = {"journal": all_bytes(home), "body": b"|".join(bodies), "logs": log}
    answers = [str(output)[:40] for output in outputs] + [streamed[:40]]
    assert all(len(answer) > 12 for answer in answers)
    for secret in (*said.values(), *answers):
        assert found(secret, secret, places) == []


@settings(max_examples=60)
@given(st.integers(10**13, 10**17), st.sampled_from(NAMES))
def test_a_number_is_a_bucket_and_never_itself(home: Home, number: int, attribute: str):
    home.journal_file.unlink(missing_ok=True)
    contribution = Contribution.from_environment({}, home)
    attributes = {**ATTRIBUTES, attribute: number, "metavox.hw.memory.size": number, "gen_ai.request.seed": number}
    contribution.on_span(Span("chat", START, START + 10**9, {**attributes, "gen_ai.request.model": "metavox/tiny"}))
    contribution.flush()
    consent, now = home.consent({}), datetime.now(timezone.utc)
    opened = Journal(home.journal_file, consent, SCHEMA, now)
    (shown,) = weekly.preview(opened, consent, SCHEMA, now)

    assert requests_in(home) == 1
    for content in (all_bytes(home), shown.body, readable.as_text(shown.body).encode()):
        assert str(number).encode() not in content
        for size in (8, 9):
            assert number.to_bytes(size, "big") not in content
            assert number.to_bytes(size, "little") not in content


FAULTS = (
    *("contribution:anonymize", "contribution:gate", "recorder:request_span"),
    *("recorder:failed_span", "hardware.detection:cpu.describe", "foreign.processor:to_span"),
    *("instrument.observer:finished_span", "writer:threading.Thread.start"),
    *("journal.journal:Journal.add", "home.folders:Home.evidence"),
)


@pytest.mark.parametrize("place", FAULTS)
def test_a_fault_of_ours_whose_words_are_a_secret_is_logged_without_them(
    home: Home, monkeypatch: pytest.MonkeyPatch, place: str
):
    secret, raised = core("letters", 5), []

    def broken(*_: object, **__: object) -> object:
        raised.append(place)
        raise RuntimeError(secret)

    home.journal_file.unlink(missing_ok=True)
    module, _, path = place.partition(":")
    *within, name = path.split(".")
    monkeypatch.setattr(reduce(getattr, within, import_module(f"metavox.telemetry.{module}")), name, broken)
    _detect.cache_clear()
    with logs() as logged:
        Run(home, "anything").contribute("gen_ai.request.model")
    _detect.cache_clear()

    assert raised
    assert secret not in logged.getvalue()


def smuggling(original: Callable[[Span, Schema], Record | None], disguise: Callable[[str], str]) -> object:
    """A fault: an anonymizer that keeps the model's name as it is, or in a disguise."""

    def anonymize(span: Span, schema: Schema) -> Record | None:
        record = original(span, schema)
        name = disguise(str(span.attributes.get("gen_ai.request.model")))
        return None if record is None else replace(record, cell=(name, *record.cell[1:]))

    return anonymize


@pytest.mark.parametrize(
    ("alphabet", "disguise"),
    [
        ("letters", str.upper),
        ("composed", lambda text: unicodedata.normalize("NFD", text)),
        ("cyrillic", lambda text: text[:12]),
        ("emoji", lambda text: text[::-1]),
        ("lone surrogates", str),
        ("digits", lambda text: text.encode().hex()),
        ("ideographs", lambda text: hashlib.sha256(text.encode()).hexdigest()),
    ],
)
def test_a_leak_that_is_planted_in_the_pipeline_is_found(
    home: Home, monkeypatch: pytest.MonkeyPatch, alphabet: str, disguise: Callable[[str], str]
):
    secret = core(alphabet, 7)
    broken = smuggling(contribution_module.anonymize, disguise)
    monkeypatch.setattr(contribution_module, "anonymize", broken)

    home.journal_file.unlink(missing_ok=True)
    contribution = Contribution.from_environment({}, home)
    contribution.on_span(Span("chat", START, START + 10**9, {**ATTRIBUTES, "gen_ai.request.model": secret}))
    contribution.flush()

    assert requests_in(home) == 1
    assert found(secret, secret, {"journal": all_bytes(home)})


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_the_hunt_knows_every_form(alphabet: str):
    secret = core(alphabet, 1)
    whole = f"of {secret}"
    forms = (secret, secret[3:], secret[::-1], unicodedata.normalize("NFKD", secret))
    written = [each for encode in ENCODINGS.values() for form in forms for each in encode(form)]
    for around in (b"", b"x", b"yz"):
        for each in written:
            assert found(secret, whole, {"file": b"\x00\xff" * 40 + around + each + b"\x00"})
        assert found(secret, whole, {"file": base64.b64encode(around + utf8(secret) + around)})
    assert found(secret, whole, {"wire": b"POST / HTTP/1.1\r\n\r\n" + zipped(json.dumps([secret]))})
    assert found(secret, whole, {"file": hashlib.sha256(utf8(whole)).digest()})


def test_the_hunt_finds_nothing_where_nothing_is():
    noise = hashlib.shake_256(b"noise").digest(200_000)
    for alphabet in ALPHABETS:
        for number in range(3):
            secret = core(alphabet, number)
            assert (
                found(secret, secret, {"noise": noise, "other": core(alphabet, 99).encode("utf-8", "replace")})
                == []
            )
