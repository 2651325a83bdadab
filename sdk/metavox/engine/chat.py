"""Conversations to prompts, by the chat template of the tokenizer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from metavox.engine.content import readable
from metavox.engine.prompts import TemplatedPrompt, check_unicode
from metavox.engine.tokenizer import HubTokenizer
from metavox.errors import InvalidRequest, shown

Message = Mapping[str, Any]


def apply_chat_template(
    messages: Sequence[Message],
    tokenizer: HubTokenizer | None,
    *,
    chat_template: str | None = None,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> TemplatedPrompt:
    """A conversation as the model was trained to read it.

    Args:
        messages: ``{"role": ..., "content": ...}``, in order; a content is a text, or a list of
            ``{"type": "text", "text": ...}``. What else they may hold is the template's affair.
        tokenizer: whose template is used.
        chat_template: a Jinja template instead of the tokenizer's own.
        add_generation_prompt: end with the beginning of the assistant's answer.
        continue_final_message: leave the last message open, so that the answer goes on with it.
        tools: JSON schemas of functions the model may call.
        chat_template_kwargs: more names for the template, such as ``enable_thinking``.

    Raises:
        InvalidRequest: there is no tokenizer or no template, or the template refuses the messages.
    """
    _check(messages)
    if tokenizer is None:
        raise InvalidRequest("Chat needs a tokenizer, and the model has none; name one: LLM(..., tokenizer=...).")
    if chat_template is None and not tokenizer.inner.chat_template:
        raise InvalidRequest(
            "The model's tokenizer has no chat template; give one (chat_template=...), or use generate."
        )
    if add_generation_prompt and continue_final_message:
        raise InvalidRequest(
            "continue_final_message goes on with the last message; set add_generation_prompt=False."
        )
    _check_names(tokenizer, chat_template_kwargs)
    try:
        template = tokenizer.inner.get_chat_template(chat_template, tools)  # one of several, by name or by tools
        text = tokenizer.inner.apply_chat_template(
            readable(messages, template),
            tokenize=False,
            chat_template=chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tools=None if tools is None else list(tools),
            **(chat_template_kwargs or {}),
        )
    except InvalidRequest:
        raise
    except Exception as error:  # jinja's own, and whatever a template raises
        raise InvalidRequest(f"The chat template does not take these messages: {error}.") from error
    check_unicode(text)
    # The template has written the special tokens already.
    return TemplatedPrompt(text, tokenizer.inner.encode(text, add_special_tokens=False, verbose=False))


def _check_names(tokenizer: HubTokenizer, names: object) -> None:
    """More names for the template are no arguments of the call that fills it in."""
    if names is None:
        return
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest(f"chat_template_kwargs must be a dict with names as keys, and is {shown(names)}.")
    taken = {"messages", *inspect.signature(tokenizer.inner.apply_chat_template).parameters} - {
        "documents",
        "kwargs",
    }
    for name in names:
        if name in taken:
            raise InvalidRequest(
                f"chat_template_kwargs gives names to the template, and {name} is not free for that."
            )


def _check(messages: object) -> None:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence) or not messages:
        raise InvalidRequest(
            f'messages must be a list such as [{{"role": "user", "content": "Hello"}}], and is {shown(messages)}.'
        )
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidRequest(f"A message is a dict with a 'role', and this one is {shown(message)}.")
