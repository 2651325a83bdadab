"""The notebook's panel, with the real widgets, and in a real kernel."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metavox.errors import MetaVoxError
from metavox.telemetry.home.folders import Home
from metavox.telemetry.question.answering import Question
from metavox.telemetry.question.panel import Panel
from metavox_privacy.consent import ASK_AGAIN_AFTER, Answer
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import LANGUAGES, QUESTIONS, Language, notice_hash
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.cli.shared import SILENT
from tests.unit.sdk.telemetry.shared import agree, journal_in, record_of, tally_of

ipywidgets = pytest.importorskip("ipywidgets")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "home", tmp_path / "no-policy.json")


def panel_for(home: Home, language: Language = "en") -> Panel:
    question = Question.put({"LANG": f"{language}_XX.UTF-8"}, home, "utf-8")
    return Panel(question.finish, lambda purposes: None, SCHEMA, language, has_said_yes=question.was_yes)


def recorded(home: Home) -> Answer | None:
    text = home.answer()
    return parse_receipt(text) if isinstance(text, str) else None


def words_in(widget: Any) -> str:
    """All that a widget and those in it say."""
    own = " ".join(str(getattr(widget, name, "")) for name in ("value", "description"))
    return own + " ".join(words_in(child) for child in getattr(widget, "children", ()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_panel_shows_the_notice_and_two_boxes_that_nobody_has_ticked(home: Home, language: Language):
    panel = panel_for(home, language)

    assert [box.value for box in panel.boxes.values()] == [False, False]
    assert [box.description for box in panel.boxes.values()] == list(QUESTIONS[language].values())
    assert {"en": "SOLD", "it": "VENDUTI"}[language] in words_in(panel.whole)
    assert not home.config.exists()


@pytest.mark.parametrize(
    "ticked", [(), ("improve",), ("publish",), PURPOSES], ids=lambda purposes: "+".join(purposes) or "none"
)
def test_save_records_the_boxes_as_they_are(home: Home, ticked: tuple[Purpose, ...]):
    panel = panel_for(home)
    for purpose in ticked:
        panel.boxes[purpose].value = True
    assert not home.config.exists()  # a tick is no answer yet
    panel.save.click()
    given = recorded(home)

    assert given is not None
    assert given.purposes == set(ticked)
    assert (given.notice, given.ask_again_after) == (notice_hash(SCHEMA), None)
    assert ("Thank you" if ticked else "will not be asked again") in panel.said.value


def test_not_now_is_recorded_once_for_somebody_who_never_answered(home: Home):
    panel = panel_for(home)
    panel.boxes["improve"].value = True
    panel.later.click()
    given = recorded(home)

    assert given is not None
    assert (given.purposes, given.ask_again_after) == (frozenset(), given.answered_at + ASK_AGAIN_AFTER)


def test_not_now_leaves_an_earlier_yes_and_says_how_to_take_it_back(home: Home):
    agree(home)
    before = home.answer()
    panel = panel_for(home)

    assert "Saving with neither box ticked takes it back" in panel.said.value
    panel.later.click()
    assert home.answer() == before
    assert "Nothing has changed: contributions are on." in panel.said.value


def test_saving_empty_boxes_takes_a_yes_back_with_its_counts(home: Home):
    agree(home)
    journal_in(home).add(tally_of([record_of()]))
    panel_for(home).save.click()
    given = recorded(home)

    assert given is not None
    assert given.purposes == frozenset()
    assert [path.name for path in home.config.iterdir()] == ["consent.json"]


def test_closing_records_nothing(home: Home):
    panel = panel_for(home)
    panel.boxes["improve"].value = True
    panel.whole.close()

    assert not home.config.exists()


def test_a_panel_takes_one_answer(home: Home):
    panel = panel_for(home)
    panel.save.click()

    assert all(widget.disabled for widget in (*panel.boxes.values(), panel.save, panel.later))


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MetaVoxError("Somebody has answered meanwhile")], ids=repr
)
def test_what_cannot_be_recorded_is_told_in_the_panel(error: Exception):
    def refuse(purposes: frozenset[Purpose] | None) -> str:
        raise error

    panel = Panel(refuse, lambda purposes: None, SCHEMA, "en", has_said_yes=False)
    panel.save.click()

    assert str(error) in panel.said.value.replace("&#x27;", "'")


def test_nothing_that_is_shown_can_be_markup():
    panel = Panel(lambda purposes: "<script>", lambda purposes: None, SCHEMA, "en", has_said_yes=False)
    panel.save.click()

    assert panel.said.value == "<p>&lt;script&gt;</p>"


class Notebook:
    """A kernel, and what a notebook does with it."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import KernelManager

        environment = {name: value for name, value in os.environ.items() if name not in SILENT}
        self._sockets = tempfile.TemporaryDirectory()  # pytest's folders are too long for a socket's name
        self._manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{self._sockets.name}/k")
        self._manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._manager.start_kernel(
            env={
                **environment,
                "METAVOX_HOME": str(folder / "home"),
                "IPYTHONDIR": str(folder),
                "HOME": str(folder),
            }
        )
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self.widgets: dict[str, dict[str, Any]] = {}
        self.shown: list[dict[str, Any]] = []

    def run(self, code: str) -> str:
        """Run a cell; gives back what it printed."""
        return self._until_idle(self._client.execute(code, allow_stdin=False))

    def click(self, description: str) -> str:
        """Click a button."""
        return self._send(description, {"method": "custom", "content": {"event": "click"}})

    def tick(self, description: str) -> str:
        """Tick a box."""
        return self._send(description, {"method": "update", "state": {"value": True}, "buffer_paths": []})

    def close(self) -> None:
        """Shut the kernel down."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._sockets.cleanup()

    def _send(self, description: str, data: dict[str, Any]) -> str:
        (model,) = [name for name, state in self.widgets.items() if state.get("description") == description]
        message = self._client.session.msg("comm_msg", {"comm_id": model, "data": data})
        self._client.shell_channel.send(message)
        return self._until_idle(message["header"]["msg_id"])

    def _until_idle(self, asked: str) -> str:
        printed = ""
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            content, kind = message["content"], message["msg_type"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            if kind == "comm_open":
                self.widgets[content["comm_id"]] = content["data"]["state"]
            elif kind == "comm_msg" and content["data"].get("method") == "update":
                self.widgets[content["comm_id"]] |= content["data"]["state"]
            elif kind == "display_data":
                self.shown.append(content["data"])
            elif kind in ("stream", "error"):
                printed += content.get("text") or content["evalue"]
            elif kind == "status" and content["execution_state"] == "idle":
                return printed


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    pytest.importorskip("ipykernel")
    opened = Notebook(tmp_path)
    yield opened
    opened.close()


def test_in_a_kernel_the_panel_appears_on_an_explicit_call_and_records_on_a_click(
    notebook: Notebook, tmp_path: Path
):
    file = tmp_path / "home" / "consent.json"
    assert notebook.run("import metavox; from metavox import telemetry; telemetry.status();") == ""
    assert (notebook.widgets, notebook.shown) == ({}, [])
    assert "Status(on=False" not in notebook.run("_ = telemetry.consent()")
    (shown,) = notebook.shown
    assert "application/vnd.jupyter.widget-view+json" in shown
    notebook.tick(QUESTIONS["en"]["improve"])
    assert not file.exists()
    notebook.click("Save my answer")
    given = parse_receipt(file.read_text(encoding="utf-8"))

    assert given is not None
    assert given.purposes == {"improve"}
    assert any(
        "Thank you. On from now to improve" in str(state.get("value")) for state in notebook.widgets.values()
    )
    assert notebook.run("print(telemetry.status().rule)") == "the recorded consent\n"


def test_in_a_kernel_without_ipywidgets_and_without_anybody_the_call_says_so(notebook: Notebook, tmp_path: Path):
    said = notebook.run(
        "import sys; sys.modules['ipywidgets'] = None\nfrom metavox import telemetry; telemetry.consent()"
    )

    assert "Nobody can be asked here" in said
    assert not (tmp_path / "home").exists()
