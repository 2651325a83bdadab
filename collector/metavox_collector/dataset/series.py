"""What all releases together are, for catalogues and marketplaces, which describe a product and not one week."""

from __future__ import annotations

from typing import Final

from metavox_collector.dataset.model import Dataset

SERIES: Final = "MetaVox LLM inference performance"

SERIES_WORDS: Final = (
    "How fast large language models run on the devices of people and organisations who agreed to share it: time to "
    "first token, time per output token, device memory and error rate by accelerator, model, number format and "
    "concurrency, and what hardware and software they run on. Aggregated and anonymised on the device and by "
    "differential privacy."
)


def cadence(dataset: Dataset) -> str:
    """How often a release comes, in words."""
    weeks = dataset.release.weeks
    return "weekly" if weeks == 1 else f"every {weeks} weeks"


def latency_days(dataset: Dataset) -> int:
    """Days from the end of the period to the day of publication; never less than 0."""
    return max((dataset.issued - dataset.week.end.date()).days, 0)
