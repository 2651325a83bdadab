"""What may be given as a prompt, and its token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metavox.engine.tokenizer import Tokenizer
from metavox.errors import InvalidRequest, shown, unknown_names
from metavox.values import as_int

KEYS = ("prompt", "prompt_token_ids")


@dataclass(frozen=True)
class TemplatedPrompt:
    """A text together with its token ids, which are not those of the text alone."""

    text: str
    token_ids: list[int]


def read_prompt(prompt: object, tokenizer: Tokenizer | None, vocab_size: int) -> tuple[str | None, list[int]]:
    """The text, if it was given as text, and the token ids of a prompt.

    Args:
        prompt: a string, ``{"prompt": str}``, ``{"prompt_token_ids": [int, ...]}`` or a `TemplatedPrompt`.
        tokenizer: None if the model has none; then only ids will do.
        vocab_size: ids must be below it.

    Raises:
        InvalidRequest: it is none of these, is empty, or holds an id outside the vocabulary.
    """
    text, ids = _unwrap(prompt)
    if text is not None and not isinstance(prompt, TemplatedPrompt):
        ids = _encode(text, tokenizer)
    if not ids:
        raise InvalidRequest("The prompt is empty; give at least one token.")
    outside = next((token for token in ids if not 0 <= token < vocab_size), None)
    if outside is not None:
        raise InvalidRequest(
            f"The token id {shown(outside)} is outside the model's vocabulary, 0 to {vocab_size - 1}."
        )
    return text, ids


def _unwrap(prompt: object) -> tuple[str | None, list[int]]:
    """The text, or None, and the ids, empty if they are still to be found."""
    if isinstance(prompt, TemplatedPrompt):
        return prompt.text, prompt.token_ids
    if isinstance(prompt, str):
        return prompt, []
    if not isinstance(prompt, Mapping):
        raise InvalidRequest(
            f"A prompt is a string or a dict, and this one is a {type(prompt).__name__}; "
            'give token ids as {"prompt_token_ids": [...]}. Only LLM.generate takes several prompts in one call.'
        )
    complaint = unknown_names("A prompt", map(str, prompt), KEYS)
    if complaint:
        raise InvalidRequest(complaint)
    if len(prompt) != 1:
        raise InvalidRequest("A prompt dict has exactly one of 'prompt' and 'prompt_token_ids'.")
    if "prompt_token_ids" in prompt:
        return None, _token_ids(prompt["prompt_token_ids"])
    if not isinstance(prompt["prompt"], str):
        raise InvalidRequest(f"'prompt' must be a string, and is a {type(prompt['prompt']).__name__}.")
    return prompt["prompt"], []


def _token_ids(ids: Any) -> list[int]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Sequence):
        raise InvalidRequest(f"'prompt_token_ids' must be a list of integers, and is a {type(ids).__name__}.")
    tokens = []
    for given in ids:
        token = as_int(given)
        if token is None:
            raise InvalidRequest(f"'prompt_token_ids' must hold integers, and holds {shown(given)}.")
        tokens.append(token)
    return tokens


def _encode(text: str, tokenizer: Tokenizer | None) -> list[int]:
    if tokenizer is None:
        raise InvalidRequest(
            'The model\'s folder has no tokenizer, so it takes no text; give {"prompt_token_ids": [...]}, '
            "or name a folder with a tokenizer: LLM(..., tokenizer=...)."
        )
    check_unicode(text)
    return tokenizer.encode(text)


def check_unicode(text: str, what: str = "The prompt") -> None:
    """Raise InvalidRequest for half a surrogate pair, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{what} is no valid Unicode text: {error}.") from None
