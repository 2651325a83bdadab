"""Names become folders; only what looks like a hub id may reach the network."""

from __future__ import annotations

import pytest
from huggingface_hub.utils import filter_repo_objects

from metavox.engine.hub import BUNDLED, FILES, NOT_FILES, find_model
from metavox.errors import InvalidArgument, ModelNotFound


class Hub:
    """A download that fails, or gives a folder, and remembers what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def __call__(self, hub_id, revision):
        self.asked.append((hub_id, revision))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def test_a_hub_id_is_fetched_at_its_revision(tmp_path):
    hub = Hub(tmp_path)
    location = find_model("Qwen/Qwen3-0.6B", "main", hub)
    assert (location.folder, location.model_id) == (tmp_path, "Qwen/Qwen3-0.6B")
    assert hub.asked == [("Qwen/Qwen3-0.6B", "main")]


def test_a_folder_is_taken_as_it_is(tmp_path, monkeypatch):
    hub = Hub(OSError())
    assert find_model(tmp_path, None, hub).folder == tmp_path
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_model("owner/name", None, hub).model_id is None
    assert hub.asked == []


def test_the_bundled_model_needs_no_network():
    hub = Hub(OSError())
    location = find_model("metavox/tiny", None, hub)
    assert (location.folder, location.model_id, hub.asked) == (BUNDLED["metavox/tiny"], "metavox/tiny", [])


@pytest.mark.parametrize(
    "name",
    [
        "/no/such",
        "./no",
        "../no",
        "~/no-such-folder",
        "a/b/c",
        "gpt2",
        "",
        "C:\\m",
        "a b/c",
        "-x/y",
        "owner/..",
        "~nouser/x",
        "x" * 5000,
    ],
)
def test_what_looks_local_and_is_not_there_never_reaches_the_network(name):
    hub = Hub(OSError())
    with pytest.raises(ModelNotFound, match=r"no folder.*hub id such as 'Qwen/Qwen3-0.6B'"):
        find_model(name, None, hub)
    assert hub.asked == []


def test_a_mistyped_path_below_a_folder_that_exists_never_reaches_the_network(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    hub = Hub(OSError())
    with pytest.raises(ModelNotFound, match=r"no folder 'models/qwen'"):
        find_model("models/qwen", None, hub)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["metavox/tinny", "MetaVox/tiny", "metavox/"])
def test_a_misspelt_bundled_name_never_reaches_the_network(name):
    hub = Hub(OSError())
    with pytest.raises(ModelNotFound, match=rf"no bundled model '{name}'; there is: 'metavox/tiny'"):
        find_model(name, None, hub)
    assert hub.asked == []


def test_a_revision_of_what_is_not_on_the_hub_is_refused(tmp_path):
    for name in (tmp_path, "metavox/tiny"):
        with pytest.raises(InvalidArgument, match="revision='v2' cannot be honoured"):
            find_model(name, "v2", Hub(OSError()))


def test_a_file_is_not_a_model(tmp_path):
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ModelNotFound, match=r"is a file; give the folder"):
        find_model(tmp_path / "model.gguf")


def test_a_failed_download_says_why_and_what_to_do():
    hub = Hub(ConnectionError("no route\nmore"))
    with pytest.raises(ModelNotFound, match=r"ConnectionError: no route\).*local folder") as caught:
        find_model("owner/name", "v2", hub)
    assert "at revision 'v2'" in str(caught.value)


def test_only_configuration_tokenizer_and_safetensors_are_fetched():
    assert not any(name.endswith((".py", ".bin", ".pt", "*")) for name in FILES)
    wanted = ["config.json", "model-00001-of-00002.safetensors", "tokenizer.json", "chat_template.jinja"]
    copies = ["consolidated.safetensors", "original/params.json", "onnx/model.safetensors", "modeling_x.py"]
    taken = filter_repo_objects(wanted + copies, allow_patterns=FILES, ignore_patterns=NOT_FILES)
    assert list(taken) == wanted
