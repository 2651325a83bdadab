"""What is new of a request since one last looked."""

from __future__ import annotations

from metavox.engine.request import RequestState
from metavox.engine.sequence import Sequence
from metavox.outputs import CompletionChunk, RequestOutput


class Chunks:
    """Cuts the growing completions of a request into chunks, each told once."""

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._open = dict.fromkeys(state.sequences, (0, 0))  # characters and tokens told of each

    def take(self, device_memory_bytes: int) -> list[CompletionChunk]:
        """What was not told yet. The request's output is on the last chunk of all."""
        chunks = []
        for sequence, told in list(self._open.items()):
            now = (len(sequence.certain_text), sequence.num_output_tokens)
            if sequence.finish_reason:
                del self._open[sequence]
            elif now == told:
                continue
            else:
                self._open[sequence] = now
            output = None if self._open else self._state.output(device_memory_bytes)
            chunks.append(_chunk(sequence, told, output))
        return chunks


def _chunk(sequence: Sequence, told: tuple[int, int], output: RequestOutput | None) -> CompletionChunk:
    characters, tokens = told
    return CompletionChunk(
        index=sequence.index,
        text=sequence.certain_text[characters:],
        token_ids=sequence.output_token_ids[tokens:].tolist(),
        logprobs=None if sequence.logprobs is None else sequence.logprobs[tokens:],
        finish_reason=sequence.finish_reason,
        stop_reason=sequence.stop_reason,
        output=output,
    )
