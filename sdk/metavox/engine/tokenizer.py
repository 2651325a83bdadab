"""Text to token ids and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from metavox.errors import InvalidCheckpoint, ModelNotFound, shown

FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


class Tokenizer(Protocol):
    """The little that the engine asks of a tokenizer."""

    @property
    def eos_token_id(self) -> int | None:
        """The end-of-sequence token, if there is one."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of a prompt, with the special tokens the model expects around it."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD."""
        ...


class HubTokenizer:
    """transformers' tokenizer of a checkpoint; `inner` is that object, for chat templates."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def eos_token_id(self) -> int | None:
        """The end-of-sequence token, if there is one."""
        token: int | None = self.inner.eos_token_id
        return token

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self.inner.encode(text, verbose=False))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """See `Tokenizer.decode`. Spaces are left as the model wrote them."""
        text: str = self.inner.decode(
            list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
        return text


def tokenizer_folder(model: Path, asked: str | os.PathLike[str] | None) -> Path | None:
    """The folder of the tokenizer that was asked for, or else the model's own, None if the model has none.

    Raises:
        ModelNotFound: the folder that was asked for holds no tokenizer.
    """
    folder = model if asked is None else Path(os.path.expanduser(asked))
    if any(os.path.isfile(folder / name) for name in FILES):
        return folder
    if asked is None:
        return None
    raise ModelNotFound(f"There is no tokenizer in {shown(str(folder))}; tokenizer= takes a folder with one.")


def load_tokenizer(folder: Path) -> HubTokenizer:
    """The tokenizer of a folder. Runs no code of the checkpoint and asks no network.

    Raises:
        InvalidCheckpoint: its files cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        inner = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise bare Exception, among others
        raise InvalidCheckpoint(f"The tokenizer in {folder} cannot be loaded ({error}); fetch it again.") from error
    return HubTokenizer(inner)
