"""The options that say how a model is loaded, for every verb that loads one; their names are those of ``LLM``."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="A hub id, a local folder, or the bundled model.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="Of weights and KV cache: auto, float32, bfloat16 or float16.")]
Quantization = Annotated[str | None, typer.Option(help="Load the weights as int8 or int4.")]
QuantizeLmHead = Annotated[bool, typer.Option("--quantize-lm-head", help="The output matrix too.")]
KvCacheDtype = Annotated[str, typer.Option(help="auto, as the weights, or int8.")]
MaxModelLen = Annotated[int | None, typer.Option(help="The most tokens of prompt and output together.")]
