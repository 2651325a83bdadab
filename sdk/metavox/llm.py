"""LLM: the front door, and the one place where the parts of the SDK are put together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
)
from metavox.completion_stream import CompletionStream
from metavox.config import INSTEAD, NEUTRAL, NEUTRAL_FOR_GENERATE, EngineConfig, EngineInfo
from metavox.errors import MissingExtra, known_arguments, known_keywords
from metavox.outputs import RequestOutput
from metavox.params import SamplingParams
from metavox.serving import Serving

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from metavox.engine.driver import Driver
    from metavox.telemetry.contribution import Contribution
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
        contribution = _contribution()
        contribution.begin()  # what is due to be sent has time while weights are read; a short program has no other
        self._driver = _build(config)
        self.info = self._driver.engine.info
        self._serving = Serving(self._driver, _recorder(self.info, contribution))

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
        outputs = self._serving.run(as_batch(prompts), sampling_params, use_tqdm)
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

    @known_arguments("chat", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS, ChatTemplate.__annotations__)
    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: Params = None,
        *,
        use_tqdm: bool = True,
        **template: Unpack[ChatTemplate],
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
        prompts = [self._serving.templated(conversation, template) for conversation in conversations]
        outputs = self._serving.run(prompts, sampling_params, use_tqdm, is_chat=True)
        return outputs[0] if single else outputs

    @known_arguments("stream", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS)
    def stream(self, prompt: Prompt, sampling_params: SamplingParams | None = None) -> CompletionStream:
        """Complete one prompt, and give its text as it comes.

        ``for chunk in llm.stream("Once upon a time"): print(chunk, end="", flush=True)``
        To stop early, leave the loop and call ``close()`` of the stream, or use it in a ``with``.

        Raises:
            InvalidRequest: the prompt or its parameters cannot be honoured; nothing has run.
        """
        return CompletionStream(self._serving, self._serving.states([prompt], sampling_params)[0])

    @known_arguments("stream_chat", NEUTRAL_FOR_GENERATE, OF_SAMPLING_PARAMS, ChatTemplate.__annotations__)
    def stream_chat(
        self,
        messages: Conversation,
        sampling_params: SamplingParams | None = None,
        **template: Unpack[ChatTemplate],
    ) -> CompletionStream:
        """Answer one conversation, and give the text as it comes; see `chat` and `stream`."""
        prompt = self._serving.templated(messages, template)
        return CompletionStream(self._serving, self._serving.states([prompt], sampling_params, is_chat=True)[0])

    @property
    def recorder(self) -> Recorder:
        """What is told of every request that ends; another one may be set in its place."""
        return self._serving.recorder

    @recorder.setter
    def recorder(self, recorder: Recorder) -> None:
        self._serving.recorder = recorder

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


def _contribution() -> Contribution:
    from metavox.telemetry.contribution import Contribution  # here, so that `import metavox` reads no catalog

    return Contribution.from_environment(os.environ)


def _recorder(info: EngineInfo, contribution: Contribution) -> Recorder:
    from metavox.telemetry.recorder import Recorder

    return Recorder(info, contribution)
