"""The tensors of a checkpoint's safetensors files, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from metavox.engine.documents import read_json
from metavox.errors import InvalidCheckpoint

# A file is mapped, and its pages count as ours from when they are read until it is closed.
MAPPED_BYTES = 16 << 20

T = TypeVar("T")


class TensorFiles:
    """Knows which file holds a tensor, and reads it when it is asked for.

    Attributes:
        twice: the names that more than one file holds.

    Raises:
        InvalidCheckpoint: a file is missing or damaged; reading says so too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.twice: list[str] = []
        self._paths: dict[str, Path] = {}
        self._path: Path | None = None
        self._file: Any = None
        self._mapped = 0
        for path in weight_files(folder):
            self._open(path)
            names = _reading(path, lambda: self._file.keys())
            self.twice += [name for name in names if name in self._paths]
            self._paths.update(dict.fromkeys(names, path))

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def view(self, name: str) -> Tensor:
        """The tensor as the file has it, without reading it: it is read where it is used."""
        path = self._paths[name]
        if path != self._path or self._mapped > MAPPED_BYTES:
            self._open(path)
        tensor: Tensor = _reading(path, lambda: self._file.get_tensor(name))
        return tensor

    def read(self, name: str) -> Tensor:
        """The same, to be used at once and let go: until then its file stays in memory as far as it was read."""
        tensor = self.view(name)
        self._mapped += tensor.nbytes
        return tensor

    def close(self) -> None:
        """Let go of the file that is open."""
        self._path = self._file = None
        self._mapped = 0

    def _open(self, path: Path) -> None:
        self.close()
        self._file = _reading(path, lambda: safe_open(path, framework="pt", device="cpu"))
        self._path = path


def _reading(path: Path, act: Callable[[], T]) -> T:
    try:
        return act()
    except (SafetensorError, OSError) as error:
        raise InvalidCheckpoint(f"{path} is damaged or no safetensors file ({error}); fetch it again.") from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: the single file, or those its index names."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise InvalidCheckpoint(
            f"{folder} has neither {single.name} nor {index.name}; give a checkpoint that is stored as safetensors."
        )
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(_is_file_name(name) for name in names.values()):
        raise InvalidCheckpoint(f"{index} must map each tensor to the name of a file beside it.")
    paths = [folder / name for name in sorted(set(names.values()))]
    lost = [path.name for path in paths if not path.is_file()]
    if lost:
        raise InvalidCheckpoint(f"{folder} lacks {some(lost)}, which {index.name} names.")
    return paths


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first few names, in order."""
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
