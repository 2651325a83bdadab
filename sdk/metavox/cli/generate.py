"""``metavox generate``: complete prompts and print the text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metavox.cli import console
from metavox.cli.options import Device, Dtype, KvCacheDtype, MaxModelLen, Model, Quantization, QuantizeLmHead

if TYPE_CHECKING:
    from metavox import LLM
    from metavox.completion_stream import CompletionStream
    from metavox.outputs import RequestOutput
    from metavox.params import SamplingParams


def generate(
    prompts: Annotated[
        list[str], typer.Argument(help="Prompts; - reads one from standard input.", metavar="PROMPT")
    ],
    model: Model = "metavox/tiny",
    chat: Annotated[
        bool, typer.Option("--chat", help="Each prompt is a user's message; use the model's chat template.")
    ] = False,
    system: Annotated[str | None, typer.Option(help="The system's message before it; chats.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens to generate.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest tokens; 0 is all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling.")] = None,
    min_p: Annotated[float | None, typer.Option(help="The least share of the likeliest's probability.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1 repeats less.")] = None,
    presence_penalty: Annotated[float | None, typer.Option(help="Taken from tokens that were there.")] = None,
    frequency_penalty: Annotated[float | None, typer.Option(help="The same, each time it was there.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    json_schema: Annotated[
        Path | None, typer.Option(help="A file with a JSON schema that the text must follow.")
    ] = None,
    regex: Annotated[str | None, typer.Option(help="A regular expression that the whole text matches.")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="A text to choose from; to be repeated.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantization = None,
    quantize_lm_head: QuantizeLmHead = False,
    kv_cache_dtype: KvCacheDtype = "auto",
    max_model_len: MaxModelLen = None,
    num_speculative_tokens: Annotated[
        int | None, typer.Option(help="Guess so many tokens from the text so far, and check them in one step.")
    ] = None,
) -> None:
    """Complete prompts and print what the model says."""
    from metavox import LLM
    from metavox.cli.first_run import maybe_ask
    from metavox.errors import MetaVoxError

    texts = _texts(prompts)
    form = _form(json_schema, regex, choice)
    sampling = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "seed": seed,
        "stop": stop or None,
    }
    try:
        with console.watched() as say:
            say(f"Loading {model}")
            llm = LLM(
                model,
                device=device,
                dtype=dtype,
                quantization=quantization,
                quantize_lm_head=quantize_lm_head,
                kv_cache_dtype=kv_cache_dtype,
                max_model_len=max_model_len,
                speculative_config=_speculation(num_speculative_tokens),
            )
        _tell_if_slow(llm)
        params = _params(llm, {name: value for name, value in sampling.items() if value is not None}, form)
        outputs = _complete(llm, texts, params, chat=chat or system is not None, system=system)
    except MetaVoxError as error:
        console.fail(str(error))
    except KeyboardInterrupt:
        console.fail("interrupted", code=130)
    maybe_ask(llm.info, [(output, params) for output in outputs])


def _texts(prompts: list[str]) -> list[str]:
    if prompts.count("-") > 1:
        console.fail("- reads all of standard input, and can stand for one prompt only", code=2)
    try:
        return [sys.stdin.read() if prompt == "-" else prompt for prompt in prompts]
    except KeyboardInterrupt:
        console.fail("interrupted", code=130)
    except UnicodeDecodeError as error:
        console.fail(f"standard input is no text in {error.encoding}")


def _form(json_schema: Path | None, regex: str | None, choice: list[str] | None) -> dict[str, Any]:
    """What `StructuredOutputsParams` is to be made of; empty for none."""
    forms = {"--json-schema": json_schema, "--regex": regex, "--choice": choice or None}
    given = [name for name, value in forms.items() if value is not None]
    if len(given) > 1:
        console.fail(f"{' and '.join(given)} each say what the text must be; choose one", code=2)
    if json_schema is not None:
        return {"json": _read(json_schema)}
    return {name: value for name, value in (("regex", regex), ("choice", choice or None)) if value is not None}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        console.fail(f"--json-schema {path}: {error.strerror or error}", code=2)
    except UnicodeDecodeError:
        console.fail(f"--json-schema {path}: is no text in UTF-8", code=2)


def _tell_if_slow(llm: LLM) -> None:
    """Tell a person at a terminal why the compiled operations are not in use, where they are not."""
    from metavox_kernels.native import build

    why = build.reason("linear") if llm.info.device == "cpu" and console.is_watched() else None
    if why is not None:
        console.note(f"metavox: this will be slow: {' '.join(why.split())}")


def _speculation(num_tokens: int | None) -> dict[str, Any] | None:
    return None if num_tokens is None else {"method": "ngram", "num_speculative_tokens": num_tokens}


def _params(llm: LLM, chosen: dict[str, Any], form: Mapping[str, Any]) -> SamplingParams:
    """The checkpoint's own settings under the chosen ones; without them where it asks for what there is not."""
    from metavox.errors import InvalidRequest
    from metavox.params import SamplingParams
    from metavox.structured import StructuredOutputsParams

    if form:
        chosen = {**chosen, "structured_outputs": StructuredOutputsParams(**form)}
    try:
        defaults = llm.get_default_sampling_params()
    except InvalidRequest as error:
        if "temperature" not in chosen:
            raise InvalidRequest(f"{error} On the command line, --temperature sets them aside.") from error
        defaults = SamplingParams()
    return replace(defaults, **chosen)


def _complete(
    llm: LLM, texts: list[str], params: SamplingParams, *, chat: bool, system: str | None
) -> list[RequestOutput]:
    """Print each text with a line's end after it: as it comes if it is one and on a terminal, else when all are
    there, so that a pipe gets all or nothing."""
    conversations = [_conversation(text, system) for text in texts]
    if len(texts) == 1 and sys.stdout.isatty():
        return [_stream(llm.stream_chat(conversations[0], params) if chat else llm.stream(texts[0], params))]
    outputs = llm.chat(conversations, params) if chat else llm.generate(texts, params)
    for output in outputs:
        console.answer(str(output))
    return outputs


def _conversation(text: str, system: str | None) -> list[dict[str, str]]:
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, {"role": "user", "content": text}]


def _stream(chunks: CompletionStream) -> RequestOutput:
    """Print the text as it comes; the whole output, once it is there."""
    with chunks:
        try:
            for chunk in chunks:
                console.part(str(chunk))
                output = chunk.output
        finally:
            console.part("\n")
    assert output is not None  # is on the last chunk
    return output
