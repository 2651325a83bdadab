"""What a pack is made of beside the release and the ledger: settings and two reports, which it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any, TypeVar

from metavox_collector.dataset.gdpr.operations import Operations, Processor
from metavox_collector.dataset.model import Publisher

_T = TypeVar("_T")


@dataclass(frozen=True)
class Inputs:
    """All of it. With the release, the ledger and the same software, every document follows from it.

    Attributes:
        publisher: Who publishes.
        issued: The day of publication.
        operations: The settings that the documents state.
        audit: The report of the audit, as JSON.
        attacks: The report of the attacks, as JSON.
    """

    publisher: Publisher
    issued: date
    operations: Operations
    audit: Mapping[str, Any]
    attacks: Mapping[str, Any]

    @property
    def documents(self) -> dict[str, Any]:
        """What is stated in the parameters, so that :func:`inputs_from` can read it back."""
        return {
            "issued": self.issued.isoformat(),
            "publisher": asdict(self.publisher),
            "operations": {
                **asdict(self.operations),
                "processors": [asdict(processor) for processor in self.operations.processors],
            },
        }


def inputs_from(documents: Mapping[str, Any], audit: Mapping[str, Any], attacks: Mapping[str, Any]) -> Inputs:
    """Read what :attr:`Inputs.documents` has stated; raises ValueError for anything else."""
    try:
        given = dict(documents["operations"])
        given["processors"] = tuple(_made(Processor, one) for one in given["processors"])
        return Inputs(
            publisher=_made(Publisher, documents["publisher"]),
            issued=date.fromisoformat(documents["issued"]),
            operations=_made(Operations, given),
            audit=audit,
            attacks=attacks,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"what the documents were made from is not stated as it has to be: {error}") from None


def _made(kind: type[_T], given: Mapping[str, Any]) -> _T:
    if set(given) != {field.name for field in fields(kind)}:  # type: ignore[arg-type]  # they are dataclasses
        raise ValueError(f"the fields of {kind.__name__} are others than {', '.join(sorted(given))}")
    return kind(**given)
