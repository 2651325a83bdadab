"""What messages hold, as the model's chat template can read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metavox.errors import InvalidRequest, shown

# A template that goes through the parts of a content itself, as Gemma 3's does.
GOES_THROUGH_PARTS = re.compile(r"\{%-?\s*for\s[^%]*\sin\s[^%]*\bcontent\b")


def readable(messages: Sequence[Mapping[str, Any]], template: str) -> list[Mapping[str, Any]]:
    """The messages, with every list of parts joined to a text, a part a line, where the template knows texts only.

    It would else write the list down as Python does, or leave it out. So does vLLM.

    Raises:
        InvalidRequest: a part is no text.
    """
    joined = [_joined(message) for message in messages]
    return list(messages) if GOES_THROUGH_PARTS.search(template) else joined


def _joined(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if isinstance(content, (str, bytes)) or not isinstance(content, Sequence):
        return message
    return {**message, "content": "\n".join(map(_text, content))}


def _text(part: object) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    raise InvalidRequest(
        'The content of a message is a string, or a list of {"type": "text", "text": "..."}: the engine takes no '
        f"images, sound or video, and this part is {shown(part)}."
    )
