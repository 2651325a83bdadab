"""From what the user calls a model to a folder on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metavox.errors import InvalidArgument, ModelNotFound, shown

PACKAGE = Path(__file__).resolve().parent.parent
OURS = "metavox/"
BUNDLED = {f"{OURS}tiny": PACKAGE / "tiny"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Configuration, tokenizer and weights; never code, and no second copy of the weights in another format.
FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]
NOT_FILES = ["*/*", "consolidated*"]  # patterns reach into folders; there, and so named, lie other copies

Download = Callable[[str, "str | None"], str]


@dataclass(frozen=True)
class ModelLocation:
    """A folder with a checkpoint. `model_id` is the hub id or bundled name, None for the user's own folder."""

    folder: Path
    model_id: str | None


def snapshot(hub_id: str, revision: str | None) -> str:
    """Fetch a model from the hub, or find it in the hub's cache. Returns its folder."""
    from huggingface_hub import snapshot_download

    return snapshot_download(hub_id, revision=revision, allow_patterns=FILES, ignore_patterns=NOT_FILES)


def find_model(
    model: str | os.PathLike[str], revision: str | None = None, download: Download = snapshot
) -> ModelLocation:
    """Look among the bundled models, then the folders, then, only for a name like ``owner/name``, on the hub.

    Raises:
        ModelNotFound: there is no such model. A path that looks local never reaches the network.
        InvalidArgument: a revision is asked of what is not on the hub.
    """
    name = os.fspath(model)
    if name in BUNDLED:
        _refuse_revision(name, revision)
        return ModelLocation(BUNDLED[name], name)
    folder = os.path.expanduser(name)  # os.path answers where pathlib raises: unknown users, overlong names
    if os.path.isdir(folder):
        _refuse_revision(name, revision)
        return ModelLocation(Path(folder), None)
    if os.path.isfile(folder):
        raise ModelNotFound(
            f"{name!r} is a file; give the folder that holds config.json and the weights as safetensors. Other "
            "formats, such as GGUF and .bin, are not read."
        )
    if name.lower().startswith(OURS):  # never from the hub, where a misspelt name may be anybody's
        known = ", ".join(map(repr, BUNDLED))
        raise ModelNotFound(f"There is no bundled model {shown(name)}; there is: {known}.")
    if isinstance(model, os.PathLike) or not _is_hub_id(name):
        raise ModelNotFound(
            f"There is no folder {shown(name)}, and it is not a hub id ('owner/name', where 'owner' is no folder "
            "here). Give an existing folder, a hub id such as 'Qwen/Qwen3-0.6B', or 'metavox/tiny'."
        )
    return ModelLocation(_fetch(name, revision, download), name)


def _refuse_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise InvalidArgument(
            f"revision={revision!r} cannot be honoured for {name!r}: only a model on the hub has revisions."
        )


def _is_hub_id(name: str) -> bool:
    """True for ``owner/name``, unless the owner is a folder here: then a path was meant, and it is mistyped."""
    return bool(HUB_ID.fullmatch(name)) and not os.path.isdir(os.path.dirname(name))


def _fetch(hub_id: str, revision: str | None, download: Download) -> Path:
    try:
        return Path(download(hub_id, revision))
    except ImportError:
        raise
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        at = f" at revision {revision!r}" if revision else ""
        raise ModelNotFound(
            f"{hub_id!r}{at} is no local folder and could not be fetched from the hub "
            f"({type(error).__name__}: {_first_line(error)}). Check the name and the connection, log in with "
            "'hf auth login' if the model is gated, or give a local folder."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
