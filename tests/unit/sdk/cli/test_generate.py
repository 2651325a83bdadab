from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metavox import LLM, SamplingParams
from metavox.cli.generate import _complete, _tell_if_slow
from metavox.cli.verbs import app
from tests.unit.sdk.cli.shared import SILENT, run


def test_text_is_printed_and_nothing_is_asked_or_kept_without_a_terminal(tmp_path: Path):
    home = tmp_path / "home"
    result = run(home, "generate", "Once upon a time", "The dog", "--max-tokens", "8", "--temperature", "0")

    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert len(result.stdout.strip()) > 10
    assert not home.exists()


def test_a_dash_reads_a_prompt_from_standard_input():
    from typer.testing import CliRunner

    arguments = ["generate", "-", "--max-tokens", "8", "--temperature", "0"]
    piped = CliRunner().invoke(app, arguments, input="Once upon a time", env=SILENT)
    given = CliRunner().invoke(app, ["generate", "Once upon a time", *arguments[2:]], env=SILENT)

    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout == given.stdout


def test_settings_of_a_checkpoint_that_cannot_be_met_are_told_and_can_be_set_aside(tmp_path: Path):
    model = shutil.copytree(str(files("metavox") / "tiny"), tmp_path / "model")
    (model / "generation_config.json").write_text('{"no_repeat_ngram_size": 3, "eos_token_id": 0}')
    arguments = ["generate", "Once upon a time", "--model", str(model), "--max-tokens", "4"]
    refused = run(tmp_path, *arguments)
    done = run(tmp_path, *arguments, "--temperature", "0")

    assert refused.exit_code == 1
    assert "no_repeat_ngram_size = 3" in refused.stderr
    assert "On the command line, --temperature sets them aside." in refused.stderr
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["generate", "Hello", "--model", "no/such/folder/at/all"], 1),
        (["generate", "Hello", "--temperature", "-1"], 1),
        (["generate", "Hello", "--device", "abacus"], 1),
        (["generate", "Hello", "--quantize-lm-head"], 1),
        (["generate", "Hello", "--choice", ""], 1),
        (["generate"], 2),
        (["generate", "-", "-"], 2),
        (["generate", "Hello", "--regex", "a", "--choice", "b"], 2),
        (["generate", "Hello", "--json-schema", "no/such/file"], 2),
        (["generate", "Hello", "--no-such-option"], 2),
        (["no-such-verb"], 2),
    ],
    ids=str,
)
def test_what_goes_wrong_is_told_on_standard_error(tmp_path: Path, arguments: list[str], code: int):
    result = run(tmp_path, *arguments)

    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr
    if code == 1:
        assert result.stderr.startswith("metavox: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-tokens", "0", "max_tokens must be"),
        ("--temperature", "-1", "temperature must be"),
        ("--top-k", "-5", "top_k must be"),
        ("--top-p", "2", "top_p must be"),
        ("--min-p", "2", "min_p must be"),
        ("--repetition-penalty", "0", "repetition_penalty must be"),
        ("--presence-penalty", "3", "presence_penalty must be"),
        ("--frequency-penalty", "3", "frequency_penalty must be"),
        ("--seed", "9" * 30, "seed must be"),
        ("--stop", "", "stop must be"),
        ("--regex", "(", "regex"),
        ("--dtype", "float8", "dtype must be"),
        ("--quantization", "int3", "quantization must be"),
        ("--kv-cache-dtype", "int4", "kv_cache_dtype must be"),
        ("--max-model-len", "2000", "max_model_len (2000)"),
        ("--num-speculative-tokens", "0", "num_speculative_tokens must be"),
    ],
    ids=str,
)
def test_each_option_reaches_what_it_names(tmp_path: Path, option: str, value: str, words: str):
    result = run(tmp_path, "generate", "Hello", option, value)

    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def on_its_own(*arguments: str, **options: Any) -> Any:
    command = [sys.executable, "-c", "from metavox.cli.main import main; main()", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_an_answer_that_cannot_be_written_is_told_in_a_line():
    with open("/dev/full", "w") as full:
        done = on_its_own("generate", "Hello", "--max-tokens", "2", stdout=full)

    assert done.returncode == 1
    assert done.stderr == "metavox: standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("device", "is_watched", "told"), [("cpu", True, True), ("cpu", False, False), ("mps", True, False)]
)
def test_a_person_is_told_why_compiled_operations_are_not_in_use(monkeypatch, capsys, device, is_watched, told):
    monkeypatch.setattr("metavox.cli.console.is_watched", lambda: is_watched)
    monkeypatch.setattr("metavox_kernels.native.build.reason", lambda name: "no C compiler\non the PATH")
    _tell_if_slow(SimpleNamespace(info=SimpleNamespace(device=device)))
    assert capsys.readouterr().err == ("metavox: this will be slow: no C compiler on the PATH\n" if told else "")


def test_streams_that_are_closed_are_empty_and_take_everything():
    shell = '"$0" -c "from metavox.cli.main import main; main()" generate Hello - --max-tokens 2 <&- >&- '
    done = subprocess.run(["sh", "-c", shell, sys.executable], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (
        1,
        "metavox: Prompt 1: The prompt is empty; give at least one token.\n",
    )
    shell = shell.replace(" - ", " ") + " 2>&- "
    assert subprocess.run(["sh", "-c", shell, sys.executable], check=False).returncode == 0


def test_help_tells_whole_options_where_the_terminal_is_narrow():
    environment = {**os.environ, "COLUMNS": "40"}
    done = on_its_own("generate", "--help", stdout=subprocess.PIPE, env=environment)

    assert done.returncode == 0, done.stderr
    assert "--num-speculative-tokens" in done.stdout


def said(tmp_path: Path, *arguments: str) -> str:
    result = run(tmp_path, "generate", *arguments, "--temperature", "0")
    assert (result.exit_code, result.stderr) == (0, "")
    text: str = result.stdout
    assert text.endswith("\n")
    return text[:-1]


def test_text_ends_before_what_was_to_stop_it(tmp_path: Path):
    whole = said(tmp_path, "Once upon a time", "--max-tokens", "24")
    word = whole.split()[-1]

    assert (
        said(tmp_path, "Once upon a time", "--max-tokens", "24", "--stop", "@@", "--stop", word)
        == (whole.partition(word)[0])
    )


def test_text_has_the_form_that_was_asked_for(tmp_path: Path):
    (tmp_path / "schema.json").write_text('{"enum": ["yes", {"no": 1}]}')
    answered = json.loads(
        said(tmp_path, "Hello", "--max-tokens", "40", "--json-schema", str(tmp_path / "schema.json"))
    )

    assert answered in ("yes", {"no": 1})
    assert said(tmp_path, "Hello", "--choice", "blue", "--choice", "green") in ("blue", "green")
    assert re.fullmatch("[0-9]{3}", said(tmp_path, "Hello", "--regex", "[0-9]{3}"))


def test_a_schema_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "schema.json").write_bytes(b"\xff\xfe")
    result = run(tmp_path, "generate", "Hello", "--json-schema", str(tmp_path / "schema.json"))

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"metavox: --json-schema {tmp_path / 'schema.json'}: is no text in UTF-8\n"


def test_a_chat_goes_through_the_models_template(tmp_path: Path):
    params = SamplingParams(temperature=0, max_tokens=8)
    user, system = {"role": "user", "content": "Hello"}, {"role": "system", "content": "Be kind."}
    with LLM("metavox/tiny") as llm:
        texts = [str(output) for output in llm.chat([[user], [system, user]], params)]

    assert said(tmp_path, "Hello", "--chat", "--max-tokens", "8") == texts[0]
    assert said(tmp_path, "Hello", "--system", "Be kind.", "--max-tokens", "8") == texts[1]
    assert said(tmp_path, "Hello", "Hello", "--chat", "--max-tokens", "8") == f"{texts[0]}\n{texts[0]}"
    assert said(tmp_path, "Hello", "--max-tokens", "8") not in texts


def test_speculation_changes_nothing_and_a_small_cache_and_integers_do_run(tmp_path: Path):
    arguments = ("One two one two one two", "--max-tokens", "24")
    plain = said(tmp_path, *arguments)

    assert said(tmp_path, *arguments, "--num-speculative-tokens", "4") == plain
    small = ("--quantization", "int8", "--quantize-lm-head", "--kv-cache-dtype", "int8", "--max-model-len", "64")
    assert len(said(tmp_path, *arguments, *small)) > 10


class Terminal(io.StringIO):
    """A standard output that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is printed piece by piece, where standard output is a terminal."""
    printed: list[str] = []
    monkeypatch.setattr("metavox.cli.generate.console.part", printed.append)
    return printed


@pytest.mark.parametrize("chat", [False, True])
def test_on_a_terminal_one_text_is_printed_as_it_comes(
    parts: list[str], monkeypatch: pytest.MonkeyPatch, chat: bool
):
    params = SamplingParams(temperature=0, max_tokens=24)
    monkeypatch.setattr("sys.stdout", Terminal())
    with LLM("metavox/tiny") as llm:
        (output,) = _complete(llm, ["Once upon a time"], params, chat=chat, system=None)

    assert "".join(parts) == f"{output}\n"
    assert len(parts) > 5
    assert output.finished


def test_ctrl_c_while_it_prints_ends_the_line_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    printed: list[str] = []

    def impatient(text: str) -> None:
        printed.append(text)
        if len(printed) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("metavox.cli.generate.console.part", impatient)
    monkeypatch.setattr("metavox.cli.generate.sys", SimpleNamespace(stdout=Terminal()))
    monkeypatch.setattr("metavox.cli.first_run.maybe_ask", lambda *_: pytest.fail("it asked"))
    result = run(tmp_path, "generate", "Once upon a time", "--temperature", "0")

    assert (result.exit_code, result.stderr) == (130, "metavox: interrupted\n")
    assert len(printed) == 4
    assert printed[-1] == "\n"


def test_a_terminal_shows_what_a_pipe_would_get(tmp_path: Path):
    ours, theirs = pty.openpty()
    arguments = ["generate", "Once upon a time", "--max-tokens", "24", "--temperature", "0"]
    script = "import sys; sys.argv = ['metavox', *sys.argv[1:]]; from metavox.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.DEVNULL, stdout=theirs, env={**os.environ, "METAVOX_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(theirs)
    screen = b""
    try:
        while piece := os.read(ours, 65536):
            screen += piece
    except OSError:  # Linux says EIO when the other side has closed
        pass
    finally:
        os.close(ours)

    assert process.wait(60) == 0
    assert screen.decode().replace("\r\n", "\n") == run(tmp_path, *arguments).stdout


def test_standard_input_that_is_no_text_is_told(tmp_path: Path):
    script = "import sys; sys.argv = ['metavox', 'generate', '-']; from metavox.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=b"\xff\xfe", capture_output=True, timeout=60, check=False,
        env={**os.environ, "METAVOX_HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"metavox: standard input is no text in utf-8\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_the_terminal_does_not_have_breaks_nothing(tmp_path: Path, encoding: str):
    home = bytes(tmp_path / "home") + "\N{HIRAGANA LETTER A}".encode()  # bytes: the tests' own locale may be C
    script = "import sys; sys.argv = ['metavox', 'telemetry', 'status']; from metavox.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "METAVOX_HOME": home, "PYTHONIOENCODING": encoding},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"consent.json" in done.stdout


def test_the_version_is_told_without_importing_anything_heavy():
    script = (
        "import sys; sys.argv = ['metavox', '--version']; from metavox.cli import main; main(); "
        "assert not {'torch', 'typer', 'opentelemetry'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == run(Path("unused"), "--version").stdout.strip()
