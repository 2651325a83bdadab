"""AsyncLLM: the same model for asyncio, where a cancelled task ends its request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from metavox.calls import OF_SAMPLING_PARAMS, ChatTemplate, Conversation, Prompt, Settings
from metavox.config import NEUTRAL_FOR_GENERATE, EngineInfo
from metavox.errors import EngineLost, known_arguments
from metavox.llm import LLM
from metavox.outputs import CompletionChunk, RequestOutput
from metavox.params import SamplingParams

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from metavox.engine.request import RequestState


class AsyncLLM:
    """A loaded model for asyncio. Requests of all tasks run together.

    ``await llm.generate(prompt)`` gives the whole output, ``async for chunk in llm.stream(prompt)`` its parts.
    Cancelling the task, or leaving the loop, ends the request and frees what it held. A thread steps the engine
    while there is something to do.

    Args:
        model: as for `LLM`.
        settings: the other arguments of `LLM`.
    """

    def __init__(self, model: str | os.PathLike[str], **settings: Unpack[Settings]) -> None:
        self._llm = LLM(model, **settings)
        self._serving = self._llm._serving
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Async{self._llm!r}"

    @property
    def info(self) -> EngineInfo:
        """What is loaded and where it runs."""
        return self._llm.info

    @known_arguments("generate", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    async def generate(self, prompt: Prompt, sampling_params: SamplingParams | None = None) -> RequestOutput:
        """Complete one prompt; see `LLM.generate`. For many, gather several calls: they run together."""
        return await self._whole(self._serving.states([prompt], sampling_params)[0])

    @known_arguments("chat", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS, ChatTemplate.__annotations__)
    async def chat(
        self,
        messages: Conversation,
        sampling_params: SamplingParams | None = None,
        **template: Unpack[ChatTemplate],
    ) -> RequestOutput:
        """Answer one conversation; `template` takes what `LLM.chat` takes for the template."""
        return await self._whole(self._chat_state(messages, sampling_params, template))

    @known_arguments("stream", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    def stream(
        self, prompt: Prompt, sampling_params: SamplingParams | None = None
    ) -> AsyncIterator[CompletionChunk]:
        """Complete one prompt, and give its text as it comes. Raises InvalidRequest at once, as `LLM.stream`."""
        return self._chunks(self._serving.states([prompt], sampling_params)[0])

    @known_arguments("stream_chat", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS, ChatTemplate.__annotations__)
    def stream_chat(
        self,
        messages: Conversation,
        sampling_params: SamplingParams | None = None,
        **template: Unpack[ChatTemplate],
    ) -> AsyncIterator[CompletionChunk]:
        """Answer one conversation, and give the text as it comes; see `chat` and `stream`."""
        return self._chunks(self._chat_state(messages, sampling_params, template))

    def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model, None if it has none."""
        return self._llm.get_tokenizer()

    def get_default_sampling_params(self) -> SamplingParams:
        """What a request without sampling_params gets: the settings of generation_config.json."""
        return self._llm.get_default_sampling_params()

    async def close(self) -> None:
        """End every request, and give weights and KV cache back. Calls after it raise EngineLost."""
        await asyncio.to_thread(self._llm.close)

    async def __aenter__(self) -> AsyncLLM:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _chat_state(
        self, messages: Conversation, sampling_params: SamplingParams | None, template: Mapping[str, Any]
    ) -> RequestState:
        prompt = self._serving.templated(messages, template)
        return self._serving.states([prompt], sampling_params, is_chat=True)[0]

    async def _whole(self, state: RequestState) -> RequestOutput:
        async for _ in self._updates(state):
            pass
        return self._serving.finish([state])[0]

    async def _chunks(self, state: RequestState) -> AsyncIterator[CompletionChunk]:
        from metavox.engine.stream import Chunks

        chunks = Chunks(state)
        state.is_streamed = True
        counted = False
        async for _ in self._updates(state):
            ready = chunks.take(self._serving.driver.engine.runner.memory_bytes())
            if state.finished and not counted:  # now, since whoever has the last chunk may not ask for more
                self._serving.record([state])
                counted = True
            for chunk in ready:
                yield chunk
        self._serving.outcome([state])

    async def _updates(self, state: RequestState) -> AsyncIterator[None]:
        """Yields whenever a step brought something, the last time when the request has ended."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # a loop that was closed has nobody left to tell
                loop.call_soon_threadsafe(news.set)

        state.on_update = tell
        try:
            self._serving.driver.submit([state])
            self._keep_stepping()
            while not state.finished:
                await news.wait()
                news.clear()
                yield
            yield
        finally:
            if not state.finished:
                self._serving.driver.cancel([state])
                self._keep_stepping()

    def _keep_stepping(self) -> None:
        with self._guard:
            if self._thread is None and self._serving.driver.has_work:
                thread = threading.Thread(target=self._step_while_needed, name="metavox-engine")
                thread.start()
                self._thread = thread

    def _step_while_needed(self) -> None:
        driver = self._serving.driver
        while True:
            with contextlib.suppress(EngineLost):  # whoever waits was told
                driver.drive(lambda: not driver.has_work)
            with self._guard:
                if not driver.has_work:
                    self._thread = None
                    return
