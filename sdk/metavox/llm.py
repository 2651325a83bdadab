"""LLM: the front door, and the one place where the parts of the SDK are put together."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union, overload

from metavox.config import NEUTRAL, NEUTRAL_FOR_GENERATE, EngineConfig, EngineInfo
from metavox.errors import InvalidRequest, MissingExtra, known_arguments, known_keywords
from metavox.outputs import RequestOutput
from metavox.params import SamplingParams

if TYPE_CHECKING:
    import torch

    from metavox.engine.engine import Engine
    from metavox.engine.sequence import Request
    from metavox.engine.sequence import Sequence as EngineSequence
    from metavox.telemetry.recorder import Recorder

Prompt = Union[str, Mapping[str, Any]]  # noqa: UP007 - evaluated at run time on Python 3.10
Params = Union[SamplingParams, Sequence[SamplingParams], None]  # noqa: UP007
ENGINE_EXTRA = {"huggingface_hub", "numpy", "safetensors", "tokenizers", "torch", "transformers"}


@known_keywords(NEUTRAL)
class LLM:
    """A loaded model.

    Args:
        model: a hub id ("Qwen/Qwen3-0.6B"), a local folder, or the bundled "metavox/tiny".
        tokenizer: a folder with a tokenizer to use instead of the model's own, or again the model's name.
        revision: the branch, tag or commit of a hub id.
        dtype: "auto" (as config.json says), "float32", "bfloat16" or "float16";
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
            seed=seed,
        )
        self._engine = _build(config)
        self._lock = threading.Lock()
        self.info = self._engine.info
        self.recorder = _recorder(self.info)

    @overload  # a string is also a sequence of strings; the first signature takes it
    def generate(  # type: ignore[overload-overlap]
        self, prompts: Prompt, sampling_params: Params = None, *, use_tqdm: bool = True
    ) -> RequestOutput: ...

    @overload
    def generate(
        self, prompts: Sequence[Prompt], sampling_params: Params = None, *, use_tqdm: bool = True
    ) -> list[RequestOutput]: ...

    @known_arguments("generate", NEUTRAL_FOR_GENERATE)
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
            NonFiniteLogits: the model computed NaN or infinity.
        """
        single = isinstance(prompts, (str, Mapping))
        batch = _as_batch(prompts)
        each = _params_for_each(sampling_params, len(batch))
        requests = [self._check(at, *pair) for at, pair in enumerate(zip(batch, each, strict=True))]
        with self._lock:
            outputs = self._run(requests, use_tqdm)
        return outputs[0] if single else outputs

    def __repr__(self) -> str:
        info = self.info
        return (
            f"LLM({info.requested_model!r}, {info.architecture}, {info.num_parameters:,} parameters, "
            f"{info.dtype} on {info.device}, max_model_len={info.max_model_len})"
        )

    def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model, None if it has none."""
        tokenizer = self._engine.tokenizer
        return None if tokenizer is None else tokenizer.inner

    def get_default_sampling_params(self) -> SamplingParams:
        """What a request without sampling_params gets: the settings of generation_config.json."""
        return self._engine.defaults.params()

    def _check(self, at: int, prompt: Prompt, params: SamplingParams | None) -> Request:
        try:
            return self._engine.check(prompt, params)
        except InvalidRequest as error:
            raise InvalidRequest(f"Prompt {at}: {error}") from error

    def _run(self, requests: list[Request], use_tqdm: bool) -> list[RequestOutput]:
        finished: dict[str, tuple[RequestOutput, SamplingParams]] = {}
        sequences: list[EngineSequence] = []
        try:
            sequences += [self._engine.add(request) for request in requests]
            with _progress(len(requests), use_tqdm) as advance:
                while self._engine.has_work:
                    stepped = self._engine.step()
                    ended = [sequence for sequence in stepped if sequence.finish_reason]
                    for sequence in ended:
                        output = sequence.output(self._engine.runner.memory_bytes())
                        finished[sequence.request_id] = output, sequence.params
                    advance(len(stepped), len(ended))
        except BaseException as error:
            self._engine.reset()
            self._record(finished, sequences, error)
            raise
        self._record(finished, sequences, None)
        return [finished[sequence.request_id][0] for sequence in sequences]

    def _record(
        self,
        finished: Mapping[str, tuple[RequestOutput, SamplingParams]],
        sequences: Sequence[EngineSequence],
        error: BaseException | None,
    ) -> None:
        """Every request passes here once, finished or failed; one that the user interrupted did neither."""
        self.recorder.finished(finished.values())
        if isinstance(error, Exception):
            failed = [one for one in sequences if one.request_id not in finished]
            lengths = [(one.num_prompt_tokens, one.params) for one in failed]
            start = min((one.arrival_time_ns for one in failed), default=time.time_ns())
            self.recorder.failed(error, lengths, start_time=start)


def _build(config: EngineConfig) -> Engine:
    try:
        from metavox.engine.build import build_engine

        return build_engine(config)
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


def _as_batch(prompts: object) -> list[Any]:
    if isinstance(prompts, (str, Mapping)):
        return [prompts]
    if isinstance(prompts, bytes) or not isinstance(prompts, Sequence):
        raise InvalidRequest(
            f"prompts must be a string, a dict or a list of these, and is a {type(prompts).__name__}."
        )
    if prompts and all(isinstance(item, int) for item in prompts):
        raise InvalidRequest('A bare list of token ids is ambiguous; write {"prompt_token_ids": [...]}.')
    return list(prompts)


def _params_for_each(params: Params, num_prompts: int) -> list[SamplingParams | None]:
    if params is None or isinstance(params, SamplingParams):
        return [params] * num_prompts
    if not isinstance(params, Sequence) or not all(isinstance(item, SamplingParams) for item in params):
        raise InvalidRequest("sampling_params must be SamplingParams, or a list with one for each prompt.")
    if len(params) != num_prompts:
        raise InvalidRequest(
            f"There are {len(params)} sampling_params for {num_prompts} prompts; give one, or one for each."
        )
    return list(params)


@contextlib.contextmanager
def _progress(total: int, wanted: bool) -> Iterator[Callable[[int, int], object]]:
    """Yields what to call after each step, with its new tokens and the number of requests that ended."""
    if not wanted or total < 2 or not sys.stderr.isatty():
        yield lambda tokens, ended: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.0f} tokens/s"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Generating", total=total, speed=0.0)
        done, began = 0, time.monotonic()

        def advance(tokens: int, ended: int) -> None:
            nonlocal done
            done += tokens
            bar.update(task, advance=ended, speed=done / (time.monotonic() - began))

        yield advance
