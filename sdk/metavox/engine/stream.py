"""What is new of a request since one last looked."""

from __future__ import annotations

from metavox.engine.request import RequestState
from metavox.outputs import CompletionChunk


class Chunks:
    """Cuts the growing completions of a request into chunks, each told once."""

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._open = dict.fromkeys(state.sequences, (0, 0))  # characters and tokens told of each

    @property
    def has_news(self) -> bool:
        """Whether `take` would give anything."""
        return any(
            sequence.finish_reason or sequence.num_output_tokens > tokens
            for sequence, (_, tokens) in self._open.items()
        )

    def take(self, device_memory_bytes: int) -> list[CompletionChunk]:
        """What was not told yet. The request's output is on the last chunk of all.

        Another thread may be adding to the completions meanwhile: each is looked at once, what it had when it
        ended, last of all.
        """
        chunks = []
        for sequence, (characters, tokens) in list(self._open.items()):
            finish_reason = sequence.finish_reason
            text, ids = sequence.certain_text[characters:], sequence.output_token_ids[tokens:].tolist()
            if finish_reason:
                del self._open[sequence]
            elif not (text or ids):
                continue
            else:
                self._open[sequence] = (characters + len(text), tokens + len(ids))
            chunks.append(
                CompletionChunk(
                    index=sequence.index,
                    text=text,
                    token_ids=ids,
                    logprobs=None if sequence.logprobs is None else sequence.logprobs[tokens : tokens + len(ids)],
                    finish_reason=finish_reason,
                    stop_reason=sequence.stop_reason if finish_reason else None,
                    output=None if self._open else self._state.output(device_memory_bytes),
                )
            )
        return chunks
