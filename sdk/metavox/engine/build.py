"""Puts an engine together from its settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import version

import torch

from metavox.config import EngineConfig, EngineInfo
from metavox.engine.blocks import BlockPool
from metavox.engine.checks import RequestChecks
from metavox.engine.documents import read_json
from metavox.engine.engine import Engine
from metavox.engine.generation import read_generation_defaults
from metavox.engine.hub import ModelLocation, find_model
from metavox.engine.loader import choose_dtype, load_decoder
from metavox.engine.memory import context_length, count_blocks, make_caches
from metavox.engine.runner import Runner
from metavox.engine.sampler import Sampler
from metavox.engine.scheduler import Scheduler
from metavox.engine.speculate import NGram
from metavox.engine.tokenizer import load_tokenizer, tokenizer_folder
from metavox.errors import InvalidArgument, shown
from metavox.models.config import DecoderConfig
from metavox.models.decoder import Decoder
from metavox.models.registry import read_config
from metavox_kernels import prepare_device

# (sequences, tokens) in one step; a host is no faster with more.
MOST_SEQS, MOST_TOKENS = 1 << 16, 1 << 20  # what a step can be asked to have memory for
STEP_LIMITS = {"cuda": (256, 2048), "mps": (32, 512), "cpu": (32, 512)}


def build_engine(config: EngineConfig) -> Engine:
    """Find, check and load a model, and give it a KV cache.

    Raises:
        ModelNotFound, UnsupportedModel, InvalidCheckpoint: the model cannot be had, run or read.
        InvalidArgument: a setting does not fit the model or the machine.
    """
    device = choose_device(config.device)
    location = find_model(config.model, config.revision)
    raw = read_json(location.folder / "config.json")
    shape = read_config(raw)
    dtype = choose_dtype(config.dtype, raw)
    max_model_len = context_length(config, shape)
    max_num_seqs, max_num_batched_tokens = _step_limits(config, device)
    # A missing tokenizer is told before gigabytes are read. It is loaded after them, because transformers reads
    # config.json too, and would be the one to complain of it.
    own = config.tokenizer == config.model  # vLLM's users name it twice, and a hub id is no folder
    words = tokenizer_folder(location.folder, None if own else config.tokenizer)
    prepare_device(device)
    with _memory_for("the weights", "choose a smaller model or dtype, or another device", torch.OutOfMemoryError):
        model = load_decoder(
            location.folder,
            shape,
            dtype,
            device,
            quantization=config.quantization,
            quantize_lm_head=config.quantize_lm_head,
        )
    defaults = read_generation_defaults(location.folder, raw, shape.vocab_size)
    tokenizer = None if words is None else load_tokenizer(words)
    if tokenizer and not defaults.eos_token_ids:
        defaults = defaults.ending_at(tokenizer.eos_token_id, shape.vocab_size)
    num_blocks = count_blocks(config, shape, dtype, device, max_num_seqs)
    longest = min(max_model_len, num_blocks * config.block_size)
    advice = "lower num_kv_blocks, kv_cache_memory_bytes, max_model_len or max_num_seqs"
    # A size beyond all bounds is a bare RuntimeError.
    limits = {"max_num_seqs": max_num_seqs, "max_num_batched_tokens": max_num_batched_tokens}
    with _memory_for(f"a KV cache of {num_blocks} blocks", advice, RuntimeError):
        model.prepare(longest, device)
        runner = Runner(
            model,
            make_caches(config, shape, num_blocks, dtype, device),
            Sampler(shape.vocab_size, max_num_seqs, device),
            max_blocks=-(-longest // config.block_size),
            **limits,
        )
    ngram = _ngram(config)
    pool = BlockPool(num_blocks, config.block_size)
    return Engine(
        _describe(config, location, shape, model, dtype, device, max_model_len, num_blocks),
        runner,
        Scheduler(pool, **limits, prefix_caching=config.enable_prefix_caching, ngram=ngram),
        RequestChecks(
            tokenizer,
            defaults,
            vocab_size=shape.vocab_size,
            max_model_len=max_model_len,
            num_blocks=num_blocks,
            block_size=config.block_size,
            speculative=ngram is not None,
        ),
        tokenizer,
        seed=config.seed,
    )


def _ngram(config: EngineConfig) -> NGram | None:
    if config.speculative_config is None:
        return None
    return NGram(**{name: value for name, value in config.speculative_config.items() if name != "method"})


def choose_device(name: str) -> torch.device:
    """The device of that name, or for "auto" the best there is. Raises InvalidArgument if it is not there."""
    if name == "auto":
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    if name.partition(":")[0] not in STEP_LIMITS:
        raise InvalidArgument(f"The device {shown(name)} is not supported; use auto, cpu, cuda, cuda:1 or mps.")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidArgument(f"The device {name!r} is not available: {reason}") from error
    return device


def _step_limits(config: EngineConfig, device: torch.device) -> tuple[int, int]:
    num_seqs, num_tokens = STEP_LIMITS[device.type]
    num_seqs = config.max_num_seqs or min(num_seqs, config.max_num_batched_tokens or num_seqs)
    num_tokens = config.max_num_batched_tokens or max(num_tokens, num_seqs)
    for name, number, most in (
        ("max_num_seqs", num_seqs, MOST_SEQS),
        ("max_num_batched_tokens", num_tokens, MOST_TOKENS),
    ):
        if number > most:
            raise InvalidArgument(f"{name} can be at most {most}, and is {shown(number)}.")
    if num_tokens < num_seqs:
        raise InvalidArgument(
            f"max_num_batched_tokens ({num_tokens}) must be at least max_num_seqs ({num_seqs}): "
            "each running sequence takes a token a step."
        )
    return num_seqs, num_tokens


@contextlib.contextmanager
def _memory_for(what: str, advice: str, lack: type[RuntimeError]) -> Iterator[None]:
    try:
        yield
    except lack as error:
        raise InvalidArgument(f"There is no memory for {what}; {advice}.") from error


def _describe(
    config: EngineConfig,
    location: ModelLocation,
    shape: DecoderConfig,
    model: Decoder,
    dtype: torch.dtype,
    device: torch.device,
    max_model_len: int,
    num_blocks: int,
) -> EngineInfo:
    return EngineInfo(
        requested_model=os.fspath(config.model),
        model_id=location.model_id,
        architecture=shape.architecture,
        num_parameters=model.num_parameters,
        dtype=str(dtype).removeprefix("torch."),
        device=device.type,
        max_model_len=max_model_len,
        num_kv_blocks=num_blocks,
        engine_version=version("metavox"),
        quantization=config.quantization,
    )
