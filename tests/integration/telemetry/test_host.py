"""A program with OpenTelemetry of its own keeps all of it as it was, and its spans to itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.telemetry.canary import found
from tests.integration.telemetry.shared import (
    agree,
    clean_environment,
    collector,
    everything_in,
    home_of,
    keep_a_due_report,
    report_in,
    requests_in,
    run,
)

SECRET = "quillfeather-passport-4711-qx"  # and nobody's

HOST = """
import atexit, json, locale, logging, multiprocessing, os, signal, socket, sys, threading, time, warnings
from opentelemetry import baggage, context, metrics, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

SECRET = sys.argv[1]
provider = TracerProvider(
    sampler=ParentBased(ALWAYS_ON), resource=Resource({"service.name": SECRET}), shutdown_on_exit=False
)
exporter = InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
logging.basicConfig(level=logging.INFO)
logging.getLogger("host").setLevel(logging.DEBUG)
signal.signal(signal.SIGUSR1, lambda *_: None)
warnings.filterwarnings("ignore", message="the host's own")
provider.get_tracer("host", "1.0")  # the SDK puts a filter of its own before the others, each time
context.attach(baggage.set_baggage("user", SECRET))

def stands():
    processors = provider._active_span_processor._span_processors
    return {
        "provider": id(trace.get_tracer_provider()),
        "sampler": (id(provider.sampler), provider.sampler.get_description()),
        "resource": sorted(provider.resource.attributes.items()),
        "processors": [id(each) for each in processors],
        "span limits": vars(provider._span_limits),
        "id generator": id(provider.id_generator),
        "meter provider": id(metrics.get_meter_provider()),
        "propagator": id(propagate.get_global_textmap()),
        "current span": id(trace.get_current_span()),
        "baggage": dict(baggage.get_all()),
        "context": str(context.get_current()),
        "signals": {number: str(signal.getsignal(number)) for number in signal.valid_signals()},
        "wakeup": signal.set_wakeup_fd(-1),
        "hooks": [id(each) for each in (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook)],
        "at exit": atexit._ncallbacks(),
        "tracing": (sys.gettrace(), sys.getprofile(), sys.getswitchinterval(), sys.getrecursionlimit()),
        "root logger": [logging.root.level, [str(each) for each in logging.root.handlers], logging.root.disabled],
        "our loggers": [str((name, each.level, each.handlers, each.propagate))
            for name, each in sorted(logging.root.manager.loggerDict.items())
            if name.startswith("metavox") and isinstance(each, logging.Logger) and (each.handlers or each.level)],
        "host's logger": logging.getLogger("host").level,
        "streams": [id(each) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "warnings": [str(each) for each in warnings.filters],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "socket": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_ALL),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "path": [*sys.path, *map(str, sys.meta_path)],
    }

def changed(before, but=()):
    now = stands()
    return [name for name in before if before[name] != now[name] and name not in but]

found = {}
"""

LIGHT = (
    HOST
    + """
before = stands()
import metavox
found["import"] = changed(before)
metavox.LLM, metavox.SamplingParams, metavox.telemetry, dir(metavox)
found["names"] = changed(before)
metavox.telemetry.status()
from metavox.telemetry.contribution import Contribution
Contribution.from_environment(os.environ).begin()
found["pipeline"] = changed(before)
from metavox.telemetry import ContributionProcessor
from tests.integration.telemetry.programs import FOREIGN, use
processor = ContributionProcessor()
found["processor"] = changed(before)
provider.add_span_processor(processor)
before = stands()

tracer = provider.get_tracer("host", "1.0")
told = {"db.statement": SECRET, "http.url": SECRET, "enduser.id": SECRET}
remote = {"gen_ai.provider.name": "openai", "gen_ai.operation.name": "chat", "gen_ai.request.model": SECRET,
          "server.address": "api.openai.com", "gen_ai.usage.input_tokens": 7}
strange = {**remote, **told, "server.address": SECRET}
for attributes in (remote, strange, told, {**told, "gen_ai.prompt": SECRET}):
    with tracer.start_as_current_span(SECRET, attributes=attributes) as span:
        span.add_event(SECRET, {"exception.message": SECRET})
        if "server.address" not in attributes:  # those of a service elsewhere stand alone
            use(provider, 2)
        try:
            with tracer.start_as_current_span("inner"):
                raise ValueError(SECRET)
        except ValueError:
            pass
processor.force_flush()
found["spans"] = changed(before)
for span in exporter.get_finished_spans():
    if span.name == SECRET:
        assert set(span.attributes) <= {*told, *remote, "gen_ai.prompt"}, span.attributes
        assert len(span.events) == 1 and span.status.is_unset
assert len(exporter.get_finished_spans()) == 12
provider.shutdown()
time.sleep(float(os.environ["LINGER"]))
print(json.dumps(found))
"""
)

ENGINES = (
    """
import torch, transformers, transformers.generation.utils, llguidance, tokenizers, safetensors.torch
import warnings, torch.utils.data
from transformers import LlamaConfig, LlamaForCausalLM
"""
    + HOST
    + """
class Seen(SpanProcessor):
    def on_start(self, span, parent_context=None):
        started.append((span.name, span.instrumentation_scope.name, span.parent and span.parent.span_id))

started = []
provider.add_span_processor(Seen())
generate = transformers.GenerationMixin.generate
before = stands()
from metavox import LLM, SamplingParams, instrument
from metavox.telemetry.instrument import uninstrument

tracer = provider.get_tracer("host", "1.0")
torch.manual_seed(0)
small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
config = LlamaConfig(vocab_size=64, **small)
model = LlamaForCausalLM(config).eval()
model.config._name_or_path = SECRET
with tracer.start_as_current_span(SECRET, attributes={"enduser.id": SECRET}) as span:
    llm = LLM("metavox/tiny")
    text = str(llm.generate(SECRET, SamplingParams(max_tokens=4, stop=[SECRET])))
    assert trace.get_current_span() is span
    instrument("transformers")
    settings = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    output = model.generate(torch.tensor([[1, 2, 3]]), **settings)
    assert output.shape == (1, 6)
    parent = span.get_span_context().span_id
uninstrument("transformers")
assert transformers.GenerationMixin.generate is generate
names = [(name.split()[0], scope, above == parent) for name, scope, above in started]
assert names == [(SECRET, "host", False), *[("text_completion", "metavox", True)] * 2], names
host = exporter.get_finished_spans()[-1]
assert dict(host.attributes) == {"enduser.id": SECRET} and not host.events
found["engines"] = changed(before)
llm.close()
print(json.dumps(found))
"""
)


@pytest.mark.parametrize("agreed", [False, True], ids=["nobody was asked", "a yes"])
def test_nothing_of_the_hosts_is_changed_or_kept_or_sent(tmp_path: Path, agreed: bool):
    home = home_of(tmp_path)
    with collector("healthy") as made:
        if agreed:
            agree(home)
            week = keep_a_due_report(home)
        environment = clean_environment(
            tmp_path, METAVOX_HOME=str(tmp_path), METAVOX_COLLECTOR_URL=made.url, LINGER="0.5" if agreed else "0"
        )
        done = run(LIGHT, environment, SECRET)

    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()[-3000:]
    changed = json.loads(done.stdout)
    assert len(changed) == 5
    assert not any(changed.values()), changed
    assert requests_in(home) == (4 if agreed else 0)
    if agreed:
        assert report_in(home, week) == (1, "sent")
    else:
        assert everything_in(tmp_path) == {}
    kept = b"".join(content or b"" for content in everything_in(tmp_path).values())
    assert found(SECRET, SECRET, {"files": kept, "wire": b"".join(made.heard)}) == []


def test_engines_leave_the_host_as_it_was_and_add_spans_of_their_own_alone(tmp_path: Path):
    home = home_of(tmp_path)
    agree(home)
    done = run(ENGINES, clean_environment(tmp_path, METAVOX_HOME=str(tmp_path)), SECRET, warnings="default")

    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert json.loads(done.stdout) == {"engines": []}
    assert requests_in(home) == 2
    kept = b"".join(content or b"" for content in everything_in(tmp_path).values())
    assert found(SECRET, SECRET, {"files": kept, "log": done.stderr}) == []
