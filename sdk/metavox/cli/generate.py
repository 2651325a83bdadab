"""``metavox generate``: complete prompts and print the text."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metavox.cli import console

if TYPE_CHECKING:
    from metavox import LLM
    from metavox.outputs import RequestOutput
    from metavox.params import SamplingParams


def generate(
    prompts: Annotated[
        list[str], typer.Argument(help="Prompts; - reads one from standard input.", metavar="PROMPT...")
    ],
    model: Annotated[str, typer.Option(help="A hub id, a local folder, or the bundled model.")] = "metavox/tiny",
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens to generate.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """Complete prompts and print what the model says."""
    from metavox import LLM
    from metavox.cli.first_run import maybe_ask
    from metavox.errors import MetaVoxError

    chosen = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    try:
        llm = LLM(model, device=device)
        params = _params(llm, {name: value for name, value in chosen.items() if value is not None})
        outputs = llm.generate([_text(prompt) for prompt in prompts], params)
    except MetaVoxError as error:
        console.fail(str(error))
    except KeyboardInterrupt:
        console.fail("interrupted", code=130)
    _print(outputs)
    maybe_ask(llm.info, [(output, params) for output in outputs])


def _text(prompt: str) -> str:
    return sys.stdin.read() if prompt == "-" else prompt


def _params(llm: LLM, chosen: dict[str, Any]) -> SamplingParams:
    """The checkpoint's own settings under the chosen ones; without them where it asks for what there is not."""
    from metavox.errors import InvalidRequest
    from metavox.params import SamplingParams

    try:
        defaults = llm.get_default_sampling_params()
    except InvalidRequest as error:
        if "temperature" not in chosen:
            raise InvalidRequest(f"{error} On the command line, --temperature sets them aside.") from error
        defaults = SamplingParams()
    return replace(defaults, **chosen)


def _print(outputs: list[RequestOutput]) -> None:
    for output in outputs:
        console.answer(str(output))
