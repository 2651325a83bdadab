"""What several formats say of a dataset in prose, with the figures of this release, so that all say the same."""

from __future__ import annotations

import math
from collections.abc import Iterator

from metavox_collector.dataset.facts import DELTA, period, privacy_unit
from metavox_collector.dataset.model import Dataset, DatasetTable
from metavox_privacy.budget import epsilon
from metavox_privacy.release import MINIMUM_CONTRIBUTORS, PHANTOMS

KEYWORDS = (
    "LLM inference",
    "performance",
    "benchmark",
    "time to first token",
    "GPU",
    "differential privacy",
    "telemetry",
)

SYNTHETIC = (
    "Synthetic: these figures come from a simulated fleet in a sandbox. They measure nothing and must not be "
    "presented as measurements."
)

RAW_DATA = (
    "Weekly reports of single installations, which were destroyed when the week was closed. The noisy sums are in "
    "the pack (column 'noisy' and proof/release.json); the sums without noise were never stored."
)

IMPACT = (
    "It makes visible what hardware and software do for ordinary users, which laboratory figures do not show. "
    "Buyers and vendors may act on it. What it could do to somebody who took part is bounded by the stated price. "
    "Figures that are read without their intervals may mislead."
)

SELF_SELECTION = (
    "Self-selection: these are the devices of people who use software that can report, and who said yes. They are "
    "no sample of any population, and no weights could make them one."
)


def summary(dataset: Dataset) -> str:
    """What the dataset is, in a paragraph."""
    said = (
        "How fast large language models run on the devices of the people who agreed to share it: time to first "
        "token, time per output token, memory and error rate by device, model and number format, and what the "
        f"fleet consists of, for {period(dataset.week, dataset.release.weeks)}. Every number is differentially "
        "private, or computed from numbers that are."
    )
    return f"{SYNTHETIC} {said}" if dataset.synthetic else said


def price(dataset: Dataset) -> str:
    """The privacy guarantee with its price."""
    nano_rho = dataset.release.nano_rho
    return (
        f"With or without {privacy_unit(dataset.release.weeks)} the release would be almost equally likely: "
        f"ρ = {nano_rho / 1e9:g} zCDP, which implies ε = {epsilon(nano_rho, DELTA):.3g} at δ = {DELTA:g}."
    )


def collection(dataset: Dataset) -> str:
    """How the reports came about."""
    simulated = "For this release a simulator stood in for the machines, with the same software. "
    return (simulated if dataset.synthetic else "") + (
        "An inference library measures each request on the machine where it runs. Only after its user has said yes "
        "to this purpose, and never by default, it counts requests by public ranges and names, and once a week "
        f"sends one report: at most {dataset.schema.cells_per_report} combinations of dimensions, with a histogram "
        f"of at most {dataset.schema.units} units for each metric. A report holds no prompt, no answer, no free "
        "text, no address, and no identifier of a person or an installation. After the week's grace period the "
        "collector sums the reports, draws noise once, and destroys the reports in the same transaction."
    )


def preprocessing(dataset: Dataset) -> Iterator[str]:
    """Each step between a request and a row."""
    schema = dataset.schema
    yield (
        "On the device: values become buckets with public edges, names outside of the public catalogues become "
        "'other', what a request does not say becomes 'unknown'."
    )
    yield (
        f"On the device: an installation keeps its {schema.cells_per_report} most used combinations and gives each "
        "histogram the same number of units, so that every installation weighs the same however many requests it "
        "made."
    )
    yield (
        "At the close: sums over installations; an installation's units shrink with the square root of its cells "
        "in a table; a public kernel spreads each unit over neighbouring buckets; integer discrete Gaussian noise "
        "goes on the count of every possible key and on every number of a histogram."
    )
    yield (
        "At the close: only cells whose noisy count passes the table's threshold are published, which is well "
        f"above {MINIMUM_CONTRIBUTORS} installations."
    )
    yield (
        "After the noise: shares by bucket, quantiles, means and 95 % intervals are estimated from the noisy "
        "numbers alone, which costs no privacy."
    )


def biases(dataset: Dataset) -> Iterator[str]:
    """In which directions the figures may be off."""
    yield SELF_SELECTION
    yield "Common combinations are published and rare ones are not, so the dataset leans towards what is common."
    yield (
        "An installation with several combinations counts in each of them; one with more than "
        f"{dataset.schema.cells_per_report} loses the least used."
    )
    yield (
        "Installations that make few requests weigh as much as those that make many: figures describe "
        "installations, not requests."
    )


def limitations(dataset: Dataset) -> Iterator[str]:
    """What a reader must not overlook."""
    yield coverage(dataset)
    yield thresholds(dataset)
    yield phantoms(dataset)
    yield "Every figure carries noise. Read it with its interval; where noise hides it, it is left empty."
    yield "Values are known to the width of a bucket. The first and the last bucket are open."
    yield (
        "Reports are not attested: an installation says of itself what it measured, and may be wrong or lie. Its "
        "weight is bounded, whatever it says."
    )
    yield "A week is released once and never again; what turns out wrong is said by a correction in the ledger."


def coverage(dataset: Dataset) -> str:
    """How many installations stand behind it, which only the noisy counts may say."""
    table = _widest(dataset)
    counts = [cell.contributors for cell in table.released.cells]
    if not counts:
        return f"Coverage: no cell of '{table.name}' passed its threshold; the fleet is small, or widely spread."
    noise = table.released.count_scale * math.sqrt(len(counts))
    return (
        f"Coverage: the {len(counts)} published cells of '{table.name}' add up to {sum(counts):,} contributors "
        f"(standard deviation of the noise {noise:,.0f}). An installation counts once in each of its cells and in "
        "each week, so there are fewer installations than that, beside those of unpublished cells."
    )


def thresholds(dataset: Dataset) -> str:
    """What is missing, and from where on it would be there."""
    least = ", ".join(f"{table.name} {table.released.threshold}" for table in dataset.tables)
    return f"A cell that is missing is not zero: its noisy count was below the table's threshold ({least})."


def phantoms(dataset: Dataset) -> str:
    """How many published cells nobody may have reported."""
    return (
        f"Phantoms: noise alone lifts at most {PHANTOMS * len(dataset.tables):g} cells of a release over their "
        "threshold on average, cells that nobody reported. Their counts are next to the threshold, and their "
        "figures are empty."
    )


def uses() -> Iterator[str]:
    """What it is good for."""
    yield "Comparing how fast a model runs on different devices in practice, and with which number format."
    yield "Choosing hardware or a model for an expected time to first token and time per output token."
    yield "Following over the weeks what people run, and whether new software made it faster."
    yield "Checking laboratory benchmarks against what users see."


def misuses() -> Iterator[str]:
    """What it is not good for, or must not be used for."""
    yield "Shares of a market or of a population: the people who share are not everybody."
    yield "Decisions about a person, a household or a company: nothing in it is about one."
    yield (
        "Attempts to single out an installation, or to link releases to one: the noise is there to defeat them, "
        "and the commercial agreement forbids them; the community licence forbids nothing."
    )
    yield "Small differences: two figures whose intervals overlap widely are no evidence of a difference."


def personal(dataset: Dataset) -> str:
    """What there is of personal data."""
    return (
        "None is meant to remain: no row is about a person, and the noise hides whether any installation took "
        f"part. {price(dataset)} What several releases cost adds up, to at most the yearly cap of the ledger. No "
        "column describes people: no place, language, age or the like was collected."
    )


def maintenance(dataset: Dataset) -> Iterator[str]:
    """How it lives on."""
    every = "every week" if dataset.release.weeks == 1 else f"every {dataset.release.weeks} weeks"
    yield f"A new release comes {every}, as a pack of its own; an old one is never changed."
    yield f"It is maintained by {dataset.publisher.name}, {dataset.publisher.email}."
    yield (
        "A release that must not be used any more is withdrawn by an entry in the ledger, which later packs hold; "
        "who has the data under contract is told."
    )
    yield (
        f"Its version, {dataset.version}, is that of the schema, the ISO week, and how often the ledger had "
        "corrected it when the pack was made."
    )


def _widest(dataset: Dataset) -> DatasetTable:
    """The table of installations by hardware, or another that has no metrics, or any."""
    shares = [table for table in dataset.tables if not table.declared.metrics]
    return next((table for table in shares if table.name == "hardware"), (*shares, *dataset.tables)[0])
