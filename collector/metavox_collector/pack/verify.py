"""A directory -> everything that is wrong with it: offline, without a database and without settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metavox_collector.dataset.code import Code, this_code
from metavox_collector.dataset.model import Dataset, dataset_of
from metavox_collector.dataset.paths import parquet_path
from metavox_collector.pack import compose, drawn, figures, formats, ledger, reports
from metavox_collector.pack.inputs import Inputs, inputs_from
from metavox_collector.pack.opened import Opened, Unreadable, opened
from metavox_collector.proof import folder
from metavox_collector.proof.integrity import Integrity, Pinned, examine
from metavox_collector.proof.paths import ATTACKS, AUDIT, LEDGER, PARAMETERS, RELEASE, SIGNATURE, SIGNING_KEY
from metavox_collector.proof.problem import Problem
from metavox_collector.store import LabelledRelease
from metavox_privacy.budget import LedgerBroken
from metavox_privacy.schema import Schema


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        files: How many files there are.
        key_id: Which key the signature names; None where it cannot be read.
        pinned: Whether the reader said which key must have signed.
        problems: All that is wrong, by file.
        notes: What could not be asked, and why.
    """

    files: int
    key_id: str | None
    pinned: bool
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def verify(directory: Path, schema: Schema, pinned: Pinned, previous: Path | None = None) -> Verified:
    """Look at all of a pack.

    Args:
        directory: The pack.
        schema: This software's declaration.
        pinned: The key that the reader trusts.
        previous: An earlier pack of the same publisher, whose ledger must be the beginning of this one's.

    Raises:
        NotAPack: if a directory cannot be read at all.
    """
    found = folder.read(directory)
    integrity = examine(found.files, pinned)
    notes: list[str] = []
    problems = [*found.problems, *integrity.problems]
    try:
        pack = opened(found.files, schema)
        problems += _contents(pack, integrity, notes)
        if previous is not None:
            problems += _previous(pack, previous, integrity)
    except Unreadable as unreadable:
        problems += unreadable.problems
    key_id = integrity.sealed.key_id if integrity.sealed is not None else None
    return Verified(len(found.files), key_id, pinned.expected is not None, _once(problems), tuple(notes))


def _once(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems)))


def _contents(pack: Opened, integrity: Integrity, notes: list[str]) -> Iterator[Problem]:
    yield from _guarded(LEDGER, lambda: ledger.check(pack))
    strangers = _guarded(PARAMETERS, lambda: drawn.check_schema(pack))
    yield from strangers
    if strangers:
        notes.append("tables, figures and documents were not held against the release: the schema is another one")
        return
    yield from _guarded(RELEASE, lambda: drawn.check_tables(pack))
    try:
        inputs = inputs_from(pack.parameters.get("documents", {}), pack.audit, pack.attacks)
        dataset = _dataset(pack, inputs)
    except Exception as error:  # the files' writer chose what is in them, and everything below needs them
        says = str(error) if isinstance(error, (LedgerBroken, ValueError)) else type(error).__name__
        yield Problem(PARAMETERS, f"{says}; figures and documents cannot be held against the release")
        return
    synthetic = dataset.synthetic
    yield from _guarded(PARAMETERS, lambda: drawn.check_parameters(pack, dataset.statement, synthetic=synthetic))
    yield from _guarded(SIGNATURE, lambda: _predicate(dataset, integrity))
    yield from _guarded(PARAMETERS, lambda: _reports(dataset, pack))
    yield from formats.check(pack)
    yield from _guarded(RELEASE, lambda: figures.check(dataset, pack.files))
    yield from _guarded(PARAMETERS, lambda: _documents(dataset, inputs, pack, notes))


def _guarded(name: str, check: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What a check finds; where it fails at what it reads, that: whoever wrote the files chose what is in them."""
    found: list[Problem] = []
    try:
        found.extend(check())
    except Exception as error:  # whatever it is, what was found before has to be told
        found.append(Problem(name, f"what it says cannot be held against the rest: {type(error).__name__}"))
    return found


def _dataset(pack: Opened, inputs: Inputs) -> Dataset:
    """The dataset anew, from the raw release: every figure is estimated again."""
    labels = [entry.sandbox for entry in pack.history if entry.release == pack.release.sha256]
    labelled = LabelledRelease(pack.release, synthetic=any(labels))
    made_by = pack.parameters.get("made_by")
    if not isinstance(made_by, dict) or set(made_by) != {"version", "source_sha256", "opendp"}:
        raise ValueError("it is not stated which software made the release")
    code = Code(made_by["version"], made_by["source_sha256"], made_by["opendp"])
    return dataset_of(
        labelled, pack.history, pack.schema, publisher=inputs.publisher, issued=inputs.issued, code=code
    )


def _reports(dataset: Dataset, pack: Opened) -> Iterator[Problem]:
    for words in reports.audit_problems(pack.audit, dataset.release, pack.schema):
        yield Problem(AUDIT, words)
    for words in reports.attack_problems(pack.attacks, dataset.release, pack.schema):
        yield Problem(ATTACKS, words)
    for words in reports.of_other_software(pack.audit, pack.attacks, dataset.code):
        yield Problem(PARAMETERS, words)


def _predicate(dataset: Dataset, integrity: Integrity) -> Iterator[Problem]:
    if integrity.sealed is not None and integrity.sealed.predicate != compose.predicate(dataset):
        yield Problem(SIGNATURE, "what its statement says of the release is not what the pack holds")


def _documents(dataset: Dataset, inputs: Inputs, pack: Opened, notes: list[str]) -> Iterator[Problem]:
    """Write every document again and compare, byte by byte, where this is the software that wrote them."""
    if dataset.code != this_code():
        notes.append(
            f"documents were not written again and compared: the pack was made by version {dataset.code.version} "
            f"with sources {dataset.code.sha256[:12]}, and this is other software"
        )
        return
    try:
        again = compose.again(figures.as_published(dataset, pack.files), inputs, pack.files)
    except (KeyError, ValueError):
        notes.append("documents were not written again and compared: a data file cannot be read")
        return
    columnar = {parquet_path(table.name) for table in dataset.tables}
    yield from _compared(again, pack.files, columnar)


def _compared(again: Mapping[str, bytes], files: Mapping[str, bytes], columnar: set[str]) -> Iterator[Problem]:
    for name, content in again.items():
        if name not in files:
            yield Problem(name, "it is missing; the software that made the pack writes it")
        elif files[name] != content:
            yield Problem(name, "it does not say what follows from the release")
    for name in sorted(set(files) - set(again) - columnar - {SIGNATURE, SIGNING_KEY}):
        yield Problem(name, "the software that made the pack writes no such file")


def _previous(pack: Opened, directory: Path, integrity: Integrity) -> Iterator[Problem]:
    """Hold the ledgers together; the earlier one must be whole, and signed by the same key."""
    files = folder.read(directory).files
    earlier = examine(files, Pinned(key_id=integrity.sealed.key_id if integrity.sealed is not None else None))
    yield from (Problem(f"{directory}/{problem.file}", problem.says) for problem in earlier.problems)
    try:
        yield from ledger.check_previous(pack, opened(files, pack.schema))
    except Unreadable as unreadable:
        yield from (Problem(f"{directory}/{problem.file}", problem.says) for problem in unreadable.problems)
