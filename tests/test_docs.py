"""What the documents say is what the code does."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import inspect
import itertools
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from metavox import LLM, SamplingParams
from metavox.cli import app as sdk_app
from metavox_collector import stage
from metavox_collector.admission import REASONS, Throttled
from metavox_collector.app import create_app
from metavox_collector.cli.verbs import app_for
from metavox_collector.endpoints.intake import Full
from metavox_collector.endpoints.openapi import document
from metavox_collector.endpoints.refusals import Refusals
from metavox_collector.estimate.estimator import WITHIN
from metavox_collector.estimate.rate import SHARE_WITHIN
from metavox_collector.observe import Metrics
from metavox_collector.receive import Code, Limits
from metavox_collector.settings import Settings, load
from metavox_collector.stage import Busy
from metavox_privacy import wire
from metavox_privacy.notice import LANGUAGES, lay_out, notice
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week

ROOT = Path(__file__).resolve().parent.parent


def load_tool():
    spec = importlib.util.spec_from_file_location("docs_tool", ROOT / "tools" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


@pytest.mark.parametrize("path", TOOL.documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_parts_agree_with_the_code(path):
    text = path.read_text(encoding="utf-8")
    assert TOOL.filled(text) == text, "run `make docs`"


@pytest.mark.parametrize("part", TOOL.PARTS)
def test_every_generated_part_stands_somewhere(part):
    assert any(f"<!-- {part} -->" in path.read_text(encoding="utf-8") for path in TOOL.documents())


def test_operating_md_names_every_reason_for_which_a_report_is_rejected():
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert [reason for reason in (*wire.REASONS, *stage.REASONS) if f"`{reason}`" not in text] == []


def test_privacy_md_names_every_field():
    text = (ROOT / "PRIVACY.md").read_text(encoding="utf-8")
    for field in (*SCHEMA.dimensions, *SCHEMA.metrics):
        assert f"`{field.name}`" in text


@pytest.mark.parametrize("path", TOOL.documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_engine_md_names_every_argument():
    text = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    arguments = [field.name for field in dataclasses.fields(SamplingParams) if not field.name.startswith("_")]
    arguments += [name for name in inspect.signature(LLM).parameters if name != "kwargs"]
    missing = [name for name in arguments if f"`{name}`" not in text]
    assert not missing


def test_operating_md_names_every_setting():
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"METAVOX_COLLECTOR_{name.upper()}" not in text]
    assert not missing


def test_dataset_md_says_when_a_figure_is_given():
    text = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")
    assert f"within a factor of {WITHIN:g}" in text
    assert f"{100 * SHARE_WITHIN:g} points" in text


def test_accuracy_md_measured_the_shares_that_ship():
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    performance = SCHEMA.tables[0]
    shares = " / ".join(map(str, (performance.count_permille, *performance.metrics.values())))
    assert f"{shares} (ships)" in text


def commands(app, prefix=()):
    command = get_command(app)
    todo = [(prefix, command)]
    while todo:
        path, current = todo.pop()
        children = getattr(current, "commands", None)
        if children is None or (path and current.invoke_without_command):
            yield path, current
        if children is not None:
            todo.extend(((*path, name), child) for name, child in children.items() if not child.hidden)


OF_THE_ENGINE = [("bench",), ("generate",)]  # verbs of the SDK that engine.md explains, and telemetry.md the others


@pytest.mark.parametrize(("app", "page"), [(sdk_app, "telemetry.md"), (app_for(), "operating.md")])
def test_every_command_and_option_is_documented(app, page):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in (page, "engine.md")}
    missing = []
    for path, command in commands(app):
        ours = app is sdk_app and path in OF_THE_ENGINE
        text = pages["engine.md"].partition("## On the command line")[2] if ours else pages[page] + readme
        if " ".join(path) not in text:
            missing.append(" ".join(path))
        for parameter in command.params:
            options = [option for option in parameter.opts if option.startswith("--")]
            if options and not any(option in text for option in options):
                missing.append(" ".join((*path, *options)))
    assert not missing


OPERATING = ROOT / "docs" / "operating"


def called(text):
    """Each call of the collector's program in a text: the words after its name, up to what ends a command."""
    for line in re.findall(r"(?<![\w/-])(?:/opt/metavox/bin/)?metavox-collector ([a-z-][^\n`|;&)']*)", text):
        yield line.split()


@pytest.mark.parametrize(
    "path", [ROOT / "docs" / "operating.md", *sorted(OPERATING.glob("*.service"))], ids=lambda path: path.name
)
def test_every_call_of_the_collector_is_one_that_it_understands(path):
    known = {" ".join(words): command for words, command in commands(app_for())}
    calls = [
        words for words in called(path.read_text(encoding="utf-8")) if words[0] in {w.split()[0] for w in known}
    ]
    assert calls
    for words in calls:
        verb = next((name for name in (" ".join(words[:2]), words[0]) if name in known), None)
        assert verb, words
        options = {option for parameter in known[verb].params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options, words


def test_the_configuration_for_postgresql_is_one_and_is_understood(tmp_path):
    file = OPERATING / "collector.toml"
    (tmp_path / "password").write_text("word", encoding="utf-8")
    (tmp_path / "password").chmod(0o600)
    loaded = load(file, db_password_file=str(tmp_path / "password"))
    assert loaded.db == "postgresql://metavox:word@localhost/metavox"
    body = "".join(line for line in file.read_text(encoding="utf-8").splitlines(True) if not line.startswith("#"))
    assert f"```toml\n{body}```" in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


OF_NO_LIST = [
    ("metavox_collector_build_info", "version"),
    ("metavox_collector_build_info", "schema"),
    ("metavox_collector_database_errors_total", "kind"),
]
"""Labels whose values no list in the code holds; an alert that names one would say nothing after an upgrade."""


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """The values that each label of each sample can have, as the code lists them; none where it has no list."""
    metrics = Metrics()
    metrics.is_built("0.1.0", 1)
    metrics.database_failed("OperationalError")
    for route, status in itertools.product(routes(tmp_path_factory.mktemp("db")), statuses()):
        metrics.answered(route, status)
    metrics.staged(1, [(reason, 1) for reason in (*wire.REASONS, *stage.REASONS)])
    for error in (Busy(), Full(), *(Throttled(reason, "", 1) for reason in REASONS)):
        Refusals(metrics, 1).response(error, None)
    values = {"up": {}}
    for sample in samples(metrics.text()):
        labels = values.setdefault(sample.name, {})
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    for name, label in OF_NO_LIST:
        values[name][label] = set()
    for labels in values.values():  # Prometheus' own
        labels["job"] = set(re.findall(r"job_name: (\S+)", (ROOT / "docs" / "operating.md").read_text("utf-8")))
    return values


def samples(text):
    return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]


def routes(folder):
    """What the service calls the routes that it counts: each of its paths is asked for, and one that is none."""
    app = create_app(Settings(db=f"sqlite:///{folder}/collector.db"))

    async def ask(path, of=app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(of), base_url="http://collector") as client:
            return await client.get(path)

    for path in ("/nowhere", *asyncio.run(ask("/openapi.json")).json()["paths"]):
        asyncio.run(ask(path))
    counted = asyncio.run(ask("/metrics", of=app.state.monitor)).content
    app.state.database.dispose()
    return {sample.labels["route"] for sample in samples(counted) if "route" in sample.labels}


def statuses():
    """Those of the service's own description, and those of its refusals, some of which any path may give."""
    paths = document(Limits(body=1, inflated=1, reports=1))["paths"].values()
    described = {int(status) for path in paths for method in path.values() for status in method["responses"]}
    return described | {code.value[0] for code in Code}


def wrong(expression, exposed):
    """What an alert's expression asks for that no process would ever expose."""
    used = re.findall(r"\b(up|metavox_collector_\w+)\s*(?:\{([^}]*)\})?", expression)
    yield from (name for name, _ in used if name not in exposed)
    for name, matchers in used:
        for matcher in filter(None, matchers.split(",")):
            label, operator, value = re.fullmatch(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"(.*)"\s*', matcher).groups()
            fits, asked = (re.fullmatch, value.split("|")) if "~" in operator else (str.__eq__, [value])
            possible = exposed.get(name, {}).get(label, ())
            yield from (f"{name} {label}={one}" for one in asked if not any(fits(one, other) for other in possible))
    labels = {label for name, _ in used for label in exposed.get(name, ())}
    for listed in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression):
        yield from (f"by {label}" for label in re.findall(r"\w+", listed) if label not in labels)


def test_every_metric_label_and_value_of_the_alert_rules_exists(exposed):
    rules = yaml.safe_load((OPERATING / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert len(rules) >= 8
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert re.search(r"metavox_collector_|\bup\{", rule["expr"])
        assert [*wrong(rule["expr"], exposed)] == []


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("rate(metavox_collector_request_total[1m]) > 0", "metavox_collector_request_total"),
        ('metavox_collector_requests_total{status="500"}', "metavox_collector_requests_total status=500"),
        (
            'metavox_collector_requests_total{route="latest", code="5.."}',
            "metavox_collector_requests_total code=5..",
        ),
        (
            'metavox_collector_requests_total{code="200",route="trace"}',
            "metavox_collector_requests_total route=trace",
        ),
        ('metavox_collector_requests_total{code=~"5..|6.."}', "metavox_collector_requests_total code=6.."),
        ('metavox_collector_throttled_total{reason!="full"}', "metavox_collector_throttled_total reason=full"),
        (
            'metavox_collector_spans_rejected_total{reason="busy"}',
            "metavox_collector_spans_rejected_total reason=busy",
        ),
        ('metavox_collector_commit_seconds_bucket{le="0.7"}', "metavox_collector_commit_seconds_bucket le=0.7"),
        ('metavox_collector_build_info{version="0.1.0"} == 1', "metavox_collector_build_info version=0.1.0"),
        ('up{job="collector"} == 0', "up job=collector"),
        ("sum by (worker) (metavox_collector_requests_total)", "by worker"),
    ],
)
def test_what_an_alert_asks_for_and_no_process_exposes_is_found(exposed, expression, missing):
    assert [*wrong(expression, exposed)] == [missing]


def test_neither_the_proxy_nor_the_units_leave_an_address_a_token_or_a_report_on_a_disk():
    proxy = {line.strip() for line in (OPERATING / "nginx.conf").read_text(encoding="utf-8").splitlines()}
    assert {"access_log off;", "error_log /dev/null emerg;", "proxy_max_temp_file_size 0;"} <= proxy
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in proxy
    sizes = dict(
        line.rstrip(";").split() for line in proxy if line.startswith("client_body_buffer") or "max_body" in line
    )
    assert sizes["client_body_buffer_size"] == sizes["client_max_body_size"]
    units = [path.read_text(encoding="utf-8").splitlines() for path in OPERATING.glob("*.service")]
    assert len(units) == 3
    assert all({"LimitCORE=0", "MemorySwapMax=0", "UMask=0077", "PrivateTmp=yes"} <= {*unit} for unit in units)


def test_the_unit_permits_as_many_open_files_as_doctor_asks_for():
    unit = (OPERATING / "metavox-collector.service").read_text(encoding="utf-8")
    permitted = int(re.search(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)[1])
    assert permitted >= 2 * Settings().max_connections + 128


def test_the_timer_closes_a_week_as_soon_as_it_can_be_and_can_be_late_by_a_week():
    text = (OPERATING / "metavox-close.timer").read_text(encoding="utf-8")
    assert "OnCalendar=Fri *-*-* 03:00:00 UTC" in text
    service = (OPERATING / "metavox-close.service").read_text(encoding="utf-8")
    back = timedelta(days=int(re.search(r'date -u -d "(\d+) days ago"', service)[1]))
    friday = datetime(2026, 12, 11, 3, tzinfo=timezone.utc)
    week = Week.of(friday - back)
    assert week.end + Settings().grace < friday < week.end + Settings().grace + timedelta(days=7)
    assert friday + timedelta(days=7) < week.end + Settings().accepted_for


def test_the_timer_for_four_weeks_closes_them_on_the_day_on_which_they_can_be():
    assert "OnCalendar=Sun *-*-* 00:15:00 UTC" in (OPERATING / "metavox-close-four.timer").read_text("utf-8")
    service = (
        (OPERATING / "metavox-close-four.service").read_text(encoding="utf-8").replace("$$", "$").replace("%%", "%")
    )
    condition = re.search(r"^ExecCondition=/bin/sh -c '(.*)'$", service, re.MULTILINE)[1]
    back = timedelta(days=int(re.search(r'date -u -d "(\d+) days ago"', service)[1]))
    settings = Settings(cadence_weeks=4, grace_days=6)
    sunday = datetime(2026, 12, 6, 0, 15, tzinfo=timezone.utc)
    for later in range(12):
        now = sunday + timedelta(weeks=later)
        said = subprocess.run(["/bin/sh", "-c", condition.replace("$(date -u +%s)", f"{now.timestamp():.0f}")])
        week = Week.of(now - back)
        assert (said.returncode == 0) == week.ends_four
        assert week.end + settings.grace <= now < week.before(3).end + settings.accepted_for


@pytest.mark.parametrize(("closes", "in_ledger", "status"), [(True, False, 0), (False, True, 0), (False, False, 1)])
def test_what_is_tried_again_is_a_failure_only_while_the_four_weeks_are_not_released(
    tmp_path, closes, in_ledger, status
):
    service = (OPERATING / "metavox-close-four.service").read_text(encoding="utf-8")
    start = re.search(r"^ExecStart=/bin/sh -c '(week=.*)'$", service, re.MULTILINE)[1]
    program = tmp_path / "metavox-collector"
    answers = {"close": f"exit {int(not closes)}", "ledger": f"echo {str(week_of_units()) * in_ledger}"}
    cases = "".join(f"{verb}) {answer};; " for verb, answer in answers.items())
    program.write_text(f'#!/bin/sh\ncase "$1" in {cases} esac\n', encoding="utf-8")
    program.chmod(0o700)
    said = start.replace("$$", "$").replace("%%", "%").replace("/opt/metavox/bin", str(tmp_path))
    assert subprocess.run(["/bin/sh", "-c", said], check=False).returncode == status


def week_of_units():
    """The week that a unit which runs now closes."""
    return Week.of(datetime.now(timezone.utc) - timedelta(days=7))


def test_every_file_for_operators_is_named_in_operating_md():
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert [path.name for path in OPERATING.iterdir() if f"(operating/{path.name})" not in text] == []


def test_every_environment_variable_of_ours_is_documented():
    code = "".join(
        path.read_text(encoding="utf-8") for root in ("sdk", "privacy") for path in (ROOT / root).rglob("*.py")
    )
    text = "".join(path.read_text(encoding="utf-8") for path in TOOL.documents())
    ours = set(re.findall(r"\bMETAVOX_(?!COLLECTOR_(?!URL))[A-Z_]*[A-Z]\b", code))
    assert {"METAVOX_HOME", "METAVOX_TELEMETRY", "METAVOX_TELEMETRY_RECEIPT", "METAVOX_COLLECTOR_URL"} <= ours
    assert [name for name in sorted(ours) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notice_stands_in_the_docs_word_by_word(language):
    text = " ".join((ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8").split())
    for paragraph in notice(SCHEMA, language).splitlines():
        assert " ".join(paragraph.split()) in text


def test_the_demo_in_the_readme_shows_the_notice_of_today():
    assert lay_out(notice(SCHEMA)) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_switch_in_telemetry_md_works():
    text = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "configure" in one]
    then = "print(metavox.telemetry.status().rule)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{block}\n{then}"], capture_output=True, text=True, check=False
    )
    assert result.stdout == "this program has called metavox.telemetry.configure(enabled=False)\n", result.stderr


def test_the_readmes_python_runs():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 3


def test_the_readme_names_the_targets_that_make_has():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"demo", "test"} <= set(named) <= set(targets)
