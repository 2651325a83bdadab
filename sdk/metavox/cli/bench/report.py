"""The figures of one model on this machine, for a person and for a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from metavox.cli.bench.measure import Figures, Workload, medians, run_rounds
from metavox.cli.bench.table import as_table

if TYPE_CHECKING:
    from metavox import LLM
    from metavox.cli.bench.limits import Limit, Machine, Work

NO_LIMIT = "No limit is given for a mixture of experts: it depends on which of them the tokens take."
STEADY = 1.25  # rounds that differ by more are not those of an idle machine
TOO_SHORT = "-: the outputs are too short for all sequences to decode at once; raise --output-len."


@dataclass(frozen=True)
class Result:
    """What was measured with one number of sequences.

    Attributes:
        num_seqs: the number.
        rounds: the figures of each round.
        prefill_limit, decode_limit: the least time of all prompts, and of a step in the middle of the output.
    """

    num_seqs: int
    rounds: list[Figures]
    prefill_limit: Limit | None
    decode_limit: Limit | None

    @property
    def spread(self) -> float:
        """The best round's rate divided by the worst one's, of prefill or decode, whichever differ more."""
        prefill = [one.prefill_tokens_per_second for one in self.rounds]
        decode = [one.decode_tokens_per_second for one in self.rounds if one.decode_tokens_per_second]
        return max(max(rates) / min(rates) for rates in (prefill, decode) if rates)

    def as_document(self, input_len: int) -> dict[str, Any]:
        """As it stands in the JSON; rates in tokens a second, times in seconds."""
        middle, limits = medians(self.rounds), {}
        for name, limit, tokens, rate in (
            ("prefill", self.prefill_limit, self.num_seqs * input_len, middle.prefill_tokens_per_second),
            ("decode", self.decode_limit, self.num_seqs, middle.decode_tokens_per_second),
        ):
            most = None if limit is None else tokens / limit.seconds
            limits[name] = {
                "tokens_per_second": most,
                "bound": None if limit is None else limit.bound,
                "reached": None if most is None or rate is None else rate / most,
            }
        return {
            "num_seqs": self.num_seqs,
            **asdict(middle),
            "limits": limits,
            "rounds": [asdict(one) for one in self.rounds],
        }


@dataclass(frozen=True)
class Report:
    """What `metavox bench` answers.

    Attributes:
        engine: what was loaded, and where it ran.
        workload: what was run.
        machine: the rates that the limits come from.
        work: what a step needs, None for a mixture of experts.
        results: one for each number of sequences.
    """

    engine: Mapping[str, Any]
    workload: Workload
    machine: Machine
    work: Work | None
    results: list[Result]

    @classmethod
    def of(
        cls,
        llm: LLM,
        settings: Mapping[str, Any],
        workload: Workload,
        load_seconds: float,
        say: Callable[[str], None],
    ) -> Report:
        """Measure a loaded model, and the machine.

        Args:
            llm: with room for all sequences at once.
            settings: that it was loaded with.
            workload: what to run.
            load_seconds: that loading took.
            say: told what is being measured.
        """
        import torch

        from metavox.cli.bench.limits import measure_machine, work_of
        from metavox.engine.runner import Runner

        runner = llm._driver.engine.runner
        assert isinstance(runner, Runner)
        vocab_size, work = runner.model.config.vocab_size, work_of(runner)
        num_bytes = runner.model.nbytes if work is None else work.weight_bytes

        def measure() -> Machine:
            say("the machine's limits")
            return measure_machine(
                runner.device, num_bytes, settings["quantization"], getattr(torch, llm.info.dtype)
            )

        before = measure()
        rounds = [run_rounds(llm, workload, num_seqs, vocab_size, say) for num_seqs in workload.num_seqs]
        machine = before.better(measure())  # a busy moment must not make the limit look reached
        results = [
            _result(num_seqs, found, workload, machine, work)
            for num_seqs, found in zip(workload.num_seqs, rounds, strict=True)
        ]
        return cls(_describe(llm, settings, load_seconds), workload, machine, work, results)

    def as_document(self) -> dict[str, Any]:
        """One JSON object; rates are per second, times in seconds, sizes in bytes."""
        return {
            **self.engine,
            **asdict(self.workload),
            "machine": asdict(self.machine),
            "weight_bytes_per_step": None if self.work is None else self.work.weight_bytes,
            "kv_bytes_per_token": None if self.work is None else self.work.kv_bytes_per_token,
            "results": [result.as_document(self.workload.input_len) for result in self.results],
        }

    def as_text(self, columns: int) -> str:
        """For a person, in lines of at most that many characters where no word is longer."""
        results = [result.as_document(self.workload.input_len) for result in self.results]
        notes = [NO_LIMIT] if self.work is None else [self._limits_in_words(self.work)]
        if any(result["decode_tokens_per_second"] is None for result in results):
            notes.append(TOO_SHORT)
        spread = max(result.spread for result in self.results)
        if spread > STEADY:
            notes.append(
                f"The best round was {spread:.1f} times as fast as the worst: something else is using the machine. "
                "--json tells every round."
            )
        return as_table([*self._engine_in_words(), self._workload_in_words()], results, notes, columns)

    def _engine_in_words(self) -> list[str]:
        it, ops = self.engine, self.engine["native_ops"]
        weights = f", {it['quantization']} weights" if it["quantization"] else ""
        cache = "" if it["kv_cache_dtype"] == "auto" else f", {it['kv_cache_dtype']} KV cache"
        hardware = f" ({it['hardware']})" if it["hardware"] else ""
        threads = f"{it['num_threads']} thread{'s' if it['num_threads'] > 1 else ''}"
        model = f"{it['model']}: {it['architecture']}, {it['num_parameters'] / 1e6:,.1f} M parameters"
        versions = f"metavox {it['engine_version']}, torch {it['torch_version']}"
        return [
            f"{model}, {it['dtype']}{weights}{cache}",
            f"{it['device']}{hardware}, {threads}, {versions}; loaded in {it['load_seconds']:.1f} s",
            *_ops_in_words(ops),
        ]

    def _workload_in_words(self) -> str:
        it = self.workload
        rounds = "one round" if it.rounds == 1 else f"medians of {it.rounds} rounds"
        return f"Prompts of {it.input_len} tokens, outputs of {it.output_len}; {rounds}"

    def _limits_in_words(self, work: Work) -> str:
        reads, products = self.machine.read_bytes_per_second / 1e9, self.machine.flops_per_second / 1e9
        return (
            f"The limit: each step reads the weights ({work.weight_bytes / 1e6:,.1f} MB) and the KV cache "
            f"({work.kv_bytes_per_token / 1e3:,.1f} kB a token) once, at {reads:,.1f} GB/s, and multiplies at "
            f"{products:,.0f} GFLOP/s. Both rates are measured here, now."
        )


def _ops_in_words(ops: Mapping[str, str | None]) -> list[str]:
    """Which are compiled, then which are not, by reason."""
    reasons: dict[str | None, list[str]] = {None: []}
    for name, why in ops.items():
        reasons.setdefault(why, []).append(name)
    return [
        f"Compiled ops: {', '.join(names)}" if why is None else f"Not compiled: {', '.join(names)}: {why}"
        for why, names in reasons.items()
        if names
    ]


def _result(
    num_seqs: int, rounds: list[Figures], workload: Workload, machine: Machine, work: Work | None
) -> Result:
    if work is None:
        return Result(num_seqs, rounds, None, None)
    context = workload.input_len + workload.output_len / 2
    prefill = work.prefill(machine, num_seqs, workload.input_len)
    return Result(num_seqs, rounds, prefill, work.decode(machine, num_seqs, context))


def _describe(llm: LLM, settings: Mapping[str, Any], load_seconds: float) -> dict[str, Any]:
    import torch

    from metavox_kernels.native import build

    info = llm.info
    names = sorted(path.stem for path in build.SOURCES.glob("*.c") if path.stem != build.POOL)
    return {
        "model": info.requested_model,
        "architecture": info.architecture,
        "num_parameters": info.num_parameters,
        "dtype": info.dtype,
        "quantization": info.quantization,
        "quantize_lm_head": settings["quantize_lm_head"],
        "kv_cache_dtype": settings["kv_cache_dtype"],
        "device": info.device,
        "hardware": llm.recorder.hardware.model,
        "num_threads": torch.get_num_threads(),
        "engine": info.engine,
        "engine_version": info.engine_version,
        "torch_version": torch.__version__,
        "native_ops": {
            name: build.reason(name) for name in names if info.device == "cpu"
        },  # None: compiled, else why not
        "max_model_len": info.max_model_len,
        "load_seconds": load_seconds,
    }
