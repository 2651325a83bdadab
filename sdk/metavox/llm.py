"""LLM: the front door, and the one place where the parts of the SDK are put together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from metavox.calls import (
    OF_SAMPLING_PARAMS,
    ChatTemplate,
    Conversation,
    Params,
    Prompt,
    as_batch,
    as_conversations,
    params_for_each,
)
from metavox.config import INSTEAD, NEUTRAL, NEUTRAL_FOR_GENERATE, EngineConfig, EngineInfo
from metavox.errors import InvalidRequest, MissingExtra, NonFiniteLogits, known_arguments, known_keywords
from metavox.outputs import CompletionChunk, RequestOutput
from metavox.params import SamplingParams
from metavox.progress import progress

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from metavox.engine.driver import Driver
    from metavox.engine.request import RequestState
    from metavox.engine.sequence import Request
    from metavox.telemetry.recorder import Recorder

ENGINE_EXTRA = {"huggingface_hub", "llguidance", "numpy", "safetensors", "tokenizers", "torch", "transformers"}


@known_keywords(NEUTRAL, INSTEAD)
class LLM:
    """A loaded model.

    Any number of threads may call it; their requests run together. ``close()``, or leaving a ``with`` block, gives
    its memory back at once; so does dropping the last reference.

    Args:
        model: a hub id ("Qwen/Qwen3-0.6B"), a local folder, or the bundled "metavox/tiny".
        tokenizer: a folder with a tokenizer to use instead of the model's own, or again the model's name.
        revision: the branch, tag or commit of a hub id.
        dtype: of weights and KV cache: "auto" (as config.json says), "float32", "bfloat16" or "float16";
            torch.float32 and vLLM's "half" and "float" will do too.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        max_model_len: the most tokens of prompt and output together; None takes the model's whole context.
        max_num_seqs: the most sequences in one step; None is 256 on CUDA, 32 elsewhere, or fewer where a step
            may have fewer tokens.
        max_num_batched_tokens: the most tokens in one step; None is 2048 on CUDA, 512 elsewhere.
        block_size: tokens in one block of the KV cache.
        num_kv_blocks: the blocks of the KV cache; None lets memory decide.
        kv_cache_memory_bytes: the same in bytes; give one of the two.
        gpu_memory_utilization: the share of a CUDA device's memory for weights and KV cache, in (0, 1].
        enable_prefix_caching: keep the keys and values of finished requests, for later ones that begin alike.
        quantization: "int8" or "int4" makes integers of the weights as they are loaded; None leaves them.
        quantize_lm_head: the output matrix too, and the embedding table where it is the same.
        kv_cache_dtype: "auto" is that of the weights; "int8" halves or quarters it.
        speculative_config: None, or how to guess tokens that are checked several at a time:
            ``{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}``.
        seed: from which the seeds of requests without their own are derived.

    Attributes:
        info: what is loaded and where it runs.
        recorder: what describes requests to OpenTelemetry and, after a yes, counts them.

    Raises:
        MissingExtra: torch and what the engine needs beside it are not installed.
        ModelNotFound, UnsupportedModel, InvalidCheckpoint: the model cannot be found, run or read.
        InvalidArgument, UnknownArgument: an argument is out of range, or does not fit the signature. vLLM's
            other arguments are taken where they ask for nothing (``tensor_parallel_size=1``).
    """

    info: EngineInfo
    recorder: Recorder

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        dtype: str | torch.dtype = "auto",
        device: str = "auto",
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        max_num_batched_tokens: int | None = None,
        block_size: int = 16,
        num_kv_blocks: int | None = None,
        kv_cache_memory_bytes: int | None = None,
        gpu_memory_utilization: float = 0.9,
        enable_prefix_caching: bool = True,
        quantization: str | None = None,
        quantize_lm_head: bool = False,
        kv_cache_dtype: str = "auto",
        speculative_config: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        config = EngineConfig(
            model=model,
            tokenizer=tokenizer,
            revision=revision,
            dtype=str(dtype),
            device=device,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            block_size=block_size,
            num_kv_blocks=num_kv_blocks,
            kv_cache_memory_bytes=kv_cache_memory_bytes,
            gpu_memory_utilization=gpu_memory_utilization,
            enable_prefix_caching=enable_prefix_caching,
            quantization=quantization,  # type: ignore[arg-type]  # is checked there
            quantize_lm_head=quantize_lm_head,
            kv_cache_dtype=kv_cache_dtype,
            speculative_config=speculative_config,
            seed=seed,
        )
        self._driver = _build(config)
        self.info = self._driver.engine.info
        self.recorder = _recorder(self.info)

    @overload  # a string is also a sequence of strings; the first signature takes it
    def generate(  # type: ignore[overload-overlap]
        self, prompts: Prompt, sampling_params: Params = None, *, use_tqdm: bool = True
    ) -> RequestOutput: ...

    @overload
    def generate(
        self, prompts: Sequence[Prompt], sampling_params: Params = None, *, use_tqdm: bool = True
    ) -> list[RequestOutput]: ...

    @known_arguments("generate", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        use_tqdm: bool = True,
    ) -> RequestOutput | list[RequestOutput]:
        """Complete one prompt, or many at once.

        Every prompt is checked before any runs. An interruption (Ctrl-C) leaves the LLM ready for the next call.

        Args:
            prompts: a string, ``{"prompt": str}``, ``{"prompt_token_ids": [int, ...]}``, or a list of these.
            sampling_params: for all prompts, or a list with one for each; None takes the settings of the
                model's generation_config.json.
            use_tqdm: show progress on standard error, for several prompts on a terminal.

        Returns:
            A RequestOutput for a single prompt, and a list of them, in order, for a list.

        Raises:
            InvalidRequest: a prompt or its parameters cannot be honoured; nothing has run.
            NonFiniteLogits: the model computed NaN or infinity for a prompt. The others have run to their end; its
                `outputs` has them all.
        """
        single = isinstance(prompts, (str, Mapping))
        outputs = self._run(as_batch(prompts), sampling_params, use_tqdm)
        return outputs[0] if single else outputs

    @overload
    def chat(
        self,
        messages: Conversation,
        sampling_params: Params = None,
        *,
        use_tqdm: bool = True,
        **template: Unpack[ChatTemplate],
    ) -> RequestOutput: ...

    @overload
    def chat(
        self,
        messages: Sequence[Conversation],
        sampling_params: Params = None,
        *,
        use_tqdm: bool = True,
        **template: Unpack[ChatTemplate],
    ) -> list[RequestOutput]: ...

    @known_arguments("chat", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: Params = None,
        *,
        use_tqdm: bool = True,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> RequestOutput | list[RequestOutput]:
        """Answer a conversation, or many at once, through the tokenizer's chat template.

        Args:
            messages: ``[{"role": "user", "content": "Hello"}, ...]``, or a list of such lists.
            sampling_params, use_tqdm: as for `generate`.
            chat_template, add_generation_prompt, continue_final_message, tools, chat_template_kwargs: see
                `metavox.engine.chat.apply_chat_template`.

        Returns:
            A RequestOutput for one conversation, and a list of them, in order, for a list.

        Raises:
            InvalidRequest: as `generate`; there is no chat template, or it refuses the messages.
        """
        conversations, single = as_conversations(messages)
        prompts = [
            self._templated(
                conversation,
                chat_template=chat_template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                tools=tools,
                chat_template_kwargs=chat_template_kwargs,
            )
            for conversation in conversations
        ]
        outputs = self._run(prompts, sampling_params, use_tqdm)
        return outputs[0] if single else outputs

    @known_arguments("stream", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    def stream(self, prompt: Prompt, sampling_params: SamplingParams | None = None) -> CompletionStream:
        """Complete one prompt, and give its text as it comes.

        ``for chunk in llm.stream("Once upon a time"): print(chunk, end="", flush=True)``
        To stop early, leave the loop and call ``close()`` of the stream, or use it in a ``with``.

        Raises:
            InvalidRequest: the prompt or its parameters cannot be honoured; nothing has run.
        """
        return CompletionStream(self, self._states([prompt], sampling_params)[0])

    @known_arguments("stream_chat", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    def stream_chat(
        self,
        messages: Conversation,
        sampling_params: SamplingParams | None = None,
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> CompletionStream:
        """Answer one conversation, and give the text as it comes; see `chat` and `stream`."""
        prompt = self._templated(
            messages,
            chat_template=chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        return CompletionStream(self, self._states([prompt], sampling_params)[0])

    def __repr__(self) -> str:
        info = self.info
        weights = f"{info.dtype}, {info.quantization} weights" if info.quantization else info.dtype
        return (
            f"LLM({info.requested_model!r}, {info.architecture}, {info.num_parameters:,} parameters, "
            f"{weights} on {info.device}, max_model_len={info.max_model_len})"
        )

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every request, and give weights and KV cache back. Calls after it raise EngineLost."""
        self._driver.close()

    def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model, None if it has none."""
        tokenizer = self._driver.engine.tokenizer
        return None if tokenizer is None else tokenizer.inner

    def get_default_sampling_params(self) -> SamplingParams:
        """What a request without sampling_params gets: the settings of generation_config.json."""
        return self._driver.engine.checks.defaults.params()

    def _templated(self, messages: Conversation, **settings: Any) -> Any:
        from metavox.engine.chat import apply_chat_template

        return apply_chat_template(messages, self._driver.engine.tokenizer, **settings)

    def _states(self, prompts: Sequence[Any], sampling_params: Params) -> list[RequestState]:
        """Requests that were checked, ready to be put in line."""
        self._driver.refuse_if_lost()
        each = params_for_each(sampling_params, len(prompts))
        if len(prompts) == 1:
            requests = [self._driver.engine.check(prompts[0], each[0])]
        else:
            requests = [self._check(at, *pair) for at, pair in enumerate(zip(prompts, each, strict=True))]
        return [self._driver.engine.state(request) for request in requests]

    def _check(self, at: int, prompt: Any, params: SamplingParams | None) -> Request:
        try:
            return self._driver.engine.check(prompt, params)
        except InvalidRequest as error:
            raise InvalidRequest(f"Prompt {at}: {error}") from error

    def _run(self, prompts: Sequence[Any], sampling_params: Params, use_tqdm: bool) -> list[RequestOutput]:
        states = self._states(prompts, sampling_params)
        unfinished = list(reversed(states))

        def done() -> bool:
            while unfinished and unfinished[-1].finished:
                unfinished.pop()
            return not unfinished

        try:
            self._driver.submit(states)
            with progress(states, use_tqdm) as show:
                self._driver.drive(lambda: show() or done())
        except BaseException:
            self._drop(states)
            raise
        return self._finish(states)

    def _drop(self, states: Sequence[RequestState]) -> None:
        """End what is still running of these; what had finished is counted all the same."""
        finished = [state for state in states if state.finished]
        self._driver.cancel(states)
        self._driver.settle()
        self._record(finished)

    def _finish(self, states: Sequence[RequestState]) -> list[RequestOutput]:
        """The outputs of requests that have ended, or what ended them; they are counted."""
        self._record(states)
        return self._outcome(states)

    def _outcome(self, states: Sequence[RequestState]) -> list[RequestOutput]:
        for state in states:
            if state.error is not None:
                raise state.error
        outputs = [self._output(state) for state in states]
        failed = [at for at, output in enumerate(outputs) if _has_failed(output)]
        if failed:
            forms = any(states[at].request.params.structured_outputs for at in failed)
            raise _non_finite(self.info, failed, outputs, structured=forms)
        return outputs

    def _output(self, state: RequestState) -> RequestOutput:
        return state.output(self._driver.engine.runner.memory_bytes())

    def _record(self, states: Sequence[RequestState]) -> None:
        """Every request passes here once, finished or failed; one that the user interrupted did neither."""
        done = [(self._output(state), state.request.params) for state in states if state.error is None]
        self.recorder.finished((output, params) for output, params in done if not _has_failed(output))
        for state in states:
            error = state.error or (_non_finite(self.info, [], []) if _has_failed(self._output(state)) else None)
            if error is not None:
                lengths = [(len(state.request.prompt_token_ids), state.request.params)]
                start = state.arrival_time_ns
                self.recorder.failed(error, lengths, start_time=start, is_streamed=state.is_streamed)


class CompletionStream(Iterator[CompletionChunk]):
    """The chunks of one request, as they come. Closing it, or dropping it, ends the request."""

    def __init__(self, llm: LLM, state: RequestState) -> None:
        from metavox.engine.stream import Chunks

        self._llm = llm
        self._state = state
        self._chunks = Chunks(state)
        self._ready: list[CompletionChunk] = []
        self._over = False
        state.is_streamed = True
        llm._driver.submit([state])

    def __iter__(self) -> CompletionStream:
        return self

    def __next__(self) -> CompletionChunk:
        while not self._ready:
            if self._over:
                raise StopIteration
            self._advance()
        return self._ready.pop(0)

    def _advance(self) -> None:
        """Wait until there is something to tell."""
        driver, state, chunks = self._llm._driver, self._state, self._chunks
        try:
            driver.drive(lambda: state.finished or chunks.has_news)
        except BaseException:
            self.close()
            raise
        finished = state.finished
        ready = chunks.take(driver.engine.runner.memory_bytes())
        if finished or (ready and ready[-1].output is not None):  # it may have ended meanwhile
            self._over = True
            self._llm._finish([state])
        self._ready = ready

    def close(self) -> None:
        """End the request, if it has not ended. What was not told yet is not told any more."""
        if not self._over:
            self._over = True
            self._ready = []
            self._llm._drop([self._state])

    def __enter__(self) -> CompletionStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            self._llm._driver.cancel([self._state])  # without waiting: a collector may call from anywhere


def _has_failed(output: RequestOutput) -> bool:
    return any(completion.finish_reason == "error" for completion in output.outputs)


def _non_finite(
    info: EngineInfo, failed: Sequence[int], outputs: Sequence[RequestOutput], *, structured: bool = False
) -> NonFiniteLogits:
    advice = "use dtype='bfloat16' or 'float32'" if info.dtype == "float16" else "its weights may be damaged"
    which = ", ".join(map(str, failed[:5])) + (", ..." if len(failed) > 5 else "")
    # The device gives the same answer where a form came to a place from which no token of the model goes on.
    other = ", or its structured_outputs cannot be gone on with by any token of the model" if structured else ""
    return NonFiniteLogits(
        f"The model produced NaN or infinity in {info.dtype} for prompt {which}; {advice}{other}.", outputs=outputs
    )


def _build(config: EngineConfig) -> Driver:
    try:
        from metavox.engine.build import build_engine
        from metavox.engine.driver import Driver

        return Driver(build_engine(config))
    except ImportError as error:  # some parts of the extra are imported only where they are needed
        if (error.name or "").partition(".")[0] not in ENGINE_EXTRA:
            raise
        raise MissingExtra(
            f'The engine needs {error.name}, which is not installed. Run: pip install "metavox[engine]"',
            name=error.name,
        ) from error


def _recorder(info: EngineInfo) -> Recorder:
    from metavox.telemetry.recorder import Recorder  # here, so that `import metavox` reads no catalog

    return Recorder(info)
