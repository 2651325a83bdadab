"""The forms in which prompts and their parameters may be given to a call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypedDict, Union

from metavox.errors import InvalidRequest, shown
from metavox.params import INSTEAD, SamplingParams

if TYPE_CHECKING:
    import torch

Prompt = Union[str, Mapping[str, Any]]  # noqa: UP007 - evaluated at run time on Python 3.10
Params = Union[SamplingParams, Sequence[SamplingParams], None]  # noqa: UP007
Conversation = Sequence[Mapping[str, Any]]
# Sampling parameters given to a call itself, as transformers takes them.
OF_SAMPLING_PARAMS = dict.fromkeys(
    (*INSTEAD, *(field.name for field in fields(SamplingParams))), "sampling_params=SamplingParams(...)"
)


class Settings(TypedDict, total=False):
    """The arguments of `LLM` beside the model, for whoever hands them on."""

    tokenizer: str | os.PathLike[str] | None
    revision: str | None
    dtype: str | torch.dtype
    device: str
    max_model_len: int | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    block_size: int
    num_kv_blocks: int | None
    kv_cache_memory_bytes: int | None
    gpu_memory_utilization: float
    enable_prefix_caching: bool
    quantization: str | None
    quantize_lm_head: bool
    kv_cache_dtype: str
    speculative_config: Mapping[str, Any] | None
    seed: int


class ChatTemplate(TypedDict, total=False):
    """How a conversation becomes a prompt; see `metavox.engine.chat.apply_chat_template`."""

    chat_template: str | None
    add_generation_prompt: bool
    continue_final_message: bool
    tools: Sequence[Mapping[str, Any]] | None
    chat_template_kwargs: Mapping[str, Any] | None


def as_batch(prompts: object) -> list[Any]:
    """One prompt or many as a list. Raises InvalidRequest for what is neither."""
    if isinstance(prompts, (str, Mapping)):
        return [prompts]
    if isinstance(prompts, bytes) or not isinstance(prompts, Sequence):
        raise InvalidRequest(
            f"prompts must be a string, a dict or a list of these, and is a {type(prompts).__name__}."
        )
    if prompts and all(isinstance(item, int) for item in prompts):
        raise InvalidRequest('A bare list of token ids is ambiguous; write {"prompt_token_ids": [...]}.')
    return list(prompts)


def as_conversations(messages: object) -> tuple[list[Conversation], bool]:
    """One conversation or many as a list, and whether it was one. Raises InvalidRequest for what is neither."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)) or not messages:
        raise InvalidRequest(
            'messages must be a list such as [{"role": "user", "content": "Hello"}], or a list of such lists, '
            f"and is {shown(messages)}."
        )
    single = isinstance(messages[0], Mapping)
    return ([messages] if single else list(messages)), single


def params_for_each(params: Params, num_prompts: int) -> list[SamplingParams | None]:
    """A list with the parameters of each prompt. Raises InvalidRequest where their number differs."""
    if params is None or isinstance(params, SamplingParams):
        return [params] * num_prompts
    if not isinstance(params, Sequence) or not all(isinstance(item, SamplingParams) for item in params):
        raise InvalidRequest("sampling_params must be SamplingParams, or a list with one for each prompt.")
    if len(params) != num_prompts:
        raise InvalidRequest(
            f"There are {len(params)} sampling_params for {num_prompts} prompts; give one, or one for each."
        )
    return list(params)
