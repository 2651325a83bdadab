"""THE list of what may leave a machine. The anonymizer, the receiver, the SQL and the docs derive from it.

``python -m metavox_privacy.schema`` prints it as the Markdown tables of PRIVACY.md and ``docs/``.
A field that is not here does not exist outside the user's machine: there is no free string anywhere.
Attributes are OpenTelemetry's (GenAI, hardware, host and OS conventions) where it has one, else ``metavox.*``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property

from metavox_privacy import catalog
from metavox_privacy.buckets import log_spaced_edges
from metavox_privacy.fields import Choice, Dimension, Metric, Range, Scope, Table

_REVIEW = date(2027, 12, 31)
_TECHNICAL = "low: a property of the software or of a product sold by the thousand"
_UNUSUAL = "medium: rare values may single out; published only above the threshold"
_WORKLOAD = "low: a size, never the content"


def _dimension(
    name: str,
    attribute: str,
    kind: Choice | Range,
    reason: str,
    *,
    source: str | None = None,
    sensitivity: str = _TECHNICAL,
) -> Dimension:
    return Dimension(name, attribute, source or attribute, kind, reason, sensitivity, _REVIEW)


def _metric(name: str, attribute: str, edges: tuple[float, ...], unit: str, reason: str) -> Metric:
    return Metric(name, attribute, attribute, edges, unit, reason, "low: a speed or a size", _REVIEW)


DIMENSIONS: tuple[Dimension, ...] = (
    _dimension(
        "accelerator",
        "hw.model",
        catalog.load("accelerators"),
        "speed is a property of a model on a device; without the device no figure means anything",
        sensitivity=_UNUSUAL,
    ),
    _dimension(
        "accelerator_count",
        "metavox.hw.count",
        Range((1, 2, 4, 8)),
        "how many devices share the work",
    ),
    _dimension(
        "accelerator_memory",
        "metavox.hw.memory.range",
        Range((4, 8, 12, 16, 24, 32, 48, 80, 128), "GiB", 2**30),
        "the memory decides which models fit; one product is sold with several sizes",
        source="metavox.hw.memory.size",
    ),
    _dimension(
        "accelerator_vendor",
        "hw.vendor",
        Choice(("nvidia", "amd", "intel", "apple", "arm")),
        "shares by vendor hold for devices that the catalogue does not name",
    ),
    _dimension(
        "driver_major",
        "metavox.hw.driver.major",
        Choice(tuple(str(n) for n in (6, 7, 450, 470, 495, *range(510, 620))), version_parts=1),
        "a driver's major version changes the speed",
        source="hw.driver_version",
    ),
    _dimension(
        "model",
        "gen_ai.request.model",
        catalog.load("models"),
        "speed is a property of a model on a device; private models and paths are 'other'",
        sensitivity=_UNUSUAL,
    ),
    _dimension(
        "architecture",
        "metavox.model.architecture",
        Choice(
            (
                *("Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "Qwen2ForCausalLM", "LlamaForCausalLM"),
                *("MistralForCausalLM", "MixtralForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"),
                *("Phi3ForCausalLM", "DeepseekV3ForCausalLM", "GptOssForCausalLM", "GPT2LMHeadModel"),
                *("SmolLM3ForCausalLM", "Olmo2ForCausalLM", "GraniteForCausalLM"),
            )
        ),
        "tells something of models that the catalogue does not name",
    ),
    _dimension(
        "parameters",
        "metavox.model.parameters.range",
        Range((0.1, 0.5, 1, 2, 4, 8, 16, 32, 64, 128), "B", 1e9),
        "tells something of models that the catalogue does not name",
        source="metavox.model.parameters",
    ),
    _dimension(
        "quantization",
        "metavox.model.quantization",
        Choice(("float32", "bfloat16", "float16", "fp8", "fp4", "int8", "int4", "awq", "gptq", "gguf")),
        "the number format of the weights changes speed and memory",
    ),
    _dimension(
        "engine",
        "metavox.engine.name",
        Choice(("metavox", "transformers", "vllm", "llama.cpp", "sglang", "ollama", "tensorrt-llm", "mlx")),
        "the same model on the same device differs between engines",
    ),
    _dimension(
        "engine_version",
        "metavox.engine.version",
        Choice(tuple(f"{major}.{minor}" for major in range(6) for minor in range(60)), version_parts=2),
        "shows what a release made faster or slower; the patch number is dropped",
    ),
    _dimension(
        "os",
        "os.type",
        Choice(("linux", "windows", "darwin", "freebsd")),
        "speed differs between operating systems; the version is not read",
    ),
    _dimension(
        "cpu_arch",
        "host.arch",
        Choice(("amd64", "arm64", "arm32", "ppc64", "s390x")),
        "speed differs between instruction sets",
    ),
    _dimension(
        "concurrency",
        "metavox.request.concurrency",
        Range((1, 4, 16, 64)),
        "a request's speed depends on how many run beside it",
        sensitivity=_WORKLOAD,
    ),
    _dimension(
        "input_tokens",
        "metavox.input_tokens.range",
        Range((16, 64, 256, 1024, 4096, 16384, 65536)),
        "the length of the prompt decides the time to first token",
        source="gen_ai.usage.input_tokens",
        sensitivity=_WORKLOAD,
    ),
    _dimension(
        "output_tokens",
        "metavox.output_tokens.range",
        Range((16, 64, 256, 1024, 4096, 16384, 65536)),
        "the length of the answer decides the duration",
        source="gen_ai.usage.output_tokens",
        sensitivity=_WORKLOAD,
    ),
    _dimension(
        "streaming",
        "gen_ai.request.stream",
        Choice(("true", "false")),
        "streamed and whole answers are timed differently",
        sensitivity=_WORKLOAD,
    ),
)

METRICS: tuple[Metric, ...] = (
    _metric(
        "time_to_first_token",
        "gen_ai.server.time_to_first_token",
        log_spaced_edges(
            (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
            low=0.001,
            high=120,
            buckets=64,
        ),
        "s",
        "how long a person waits before anything appears",
    ),
    _metric(
        "time_per_output_token",
        "gen_ai.server.time_per_output_token",
        log_spaced_edges(
            (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5),
            low=0.0002,
            high=10,
            buckets=64,
        ),
        "s",
        "how fast the answer flows once it has begun",
    ),
    _metric(
        "peak_device_memory",
        "metavox.device.memory.peak",
        log_spaced_edges(
            tuple(float(2**k) for k in range(25, 41)), low=float(2**24), high=float(2**41), buckets=64
        ),
        "By",
        "whether a model fits on a device",
    ),
    Metric(
        "error_rate",
        "metavox.request.failed",
        "error.type",
        (),
        "1",
        "how often requests fail; the error itself is not read",
        "low: whether it worked",
        _REVIEW,
    ),
)

_SHARES: tuple[Table, ...] = (
    Table(
        "hardware",
        ("accelerator_vendor", "accelerator_count", "accelerator_memory", "driver_major"),
        {},
        20,
        "What do people run models on?",
    ),
    Table("models", ("model", "architecture", "parameters"), {}, 20, "Which models do people run?"),
    Table("software", ("engine", "engine_version", "os", "cpu_arch"), {}, 20, "With which software?"),
    Table("workload", ("input_tokens", "output_tokens", "streaming"), {}, 20, "For what sizes of work?"),
)

_SPEED = "How fast does this model run on that device?"

TABLES: tuple[Table, ...] = (
    Table(
        "performance",
        ("accelerator", "model", "quantization", "concurrency"),
        {"time_to_first_token": 480, "time_per_output_token": 220, "peak_device_memory": 80, "error_rate": 20},
        120,
        _SPEED,
    ),
    *_SHARES,
)

COARSE_TABLES: tuple[Table, ...] = (
    Table(
        "performance",
        ("accelerator", "model"),
        {"time_to_first_token": 500, "time_per_output_token": 220},
        200,
        _SPEED,
    ),
    *_SHARES,
)
"""For a fleet too small for the others. The shares of both were tuned by simulation: docs/accuracy.md."""


@dataclass(frozen=True)
class Schema:
    """The declaration as a whole.

    Attributes:
        version: Goes up with every change; a higher one pauses uploads until the user has agreed again.
        cells_per_report: K, how many combinations of dimensions one report may hold.
        tables: What a release holds.
        coarse_tables: What it holds while the fleet is too small for that.
        units: How many integer units each histogram of a report is made of.
    """

    version: int
    dimensions: tuple[Dimension, ...]
    metrics: tuple[Metric, ...]
    tables: tuple[Table, ...]
    coarse_tables: tuple[Table, ...]
    cells_per_report: int
    units: int

    @cached_property
    def dimension(self) -> dict[str, Dimension]:
        """Dimensions by name."""
        return {dimension.name: dimension for dimension in self.dimensions}

    @cached_property
    def metric(self) -> dict[str, Metric]:
        """Metrics by name."""
        return {metric.name: metric for metric in self.metrics}

    @cached_property
    def position(self) -> dict[str, int]:
        """Where a dimension stands in a cell's key, by name."""
        return {dimension.name: index for index, dimension in enumerate(self.dimensions)}

    def in_scope(self, scope: Scope) -> tuple[Table, ...]:
        """The tables of a release."""
        return self.tables if scope == "full" else self.coarse_tables

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole declaration, catalogues included."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


SCHEMA = Schema(
    version=2,
    dimensions=DIMENSIONS,
    metrics=METRICS,
    tables=TABLES,
    coarse_tables=COARSE_TABLES,
    cells_per_report=4,
    units=256,
)


if __name__ == "__main__":
    from metavox_privacy.describe import markdown

    print(markdown(SCHEMA))  # noqa: T201  # printing itself is what this entry is for
