"""Packs for tests: a small release, the reports of an audit and of attacks, a key."""

from __future__ import annotations

from datetime import date
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metavox_collector.dataset.code import this_code
from metavox_collector.dataset.gdpr.operations import operations_of
from metavox_collector.dataset.model import Dataset, dataset_of
from metavox_collector.pack.inputs import Inputs
from metavox_collector.pack.publisher import SANDBOX
from metavox_collector.settings import Settings
from metavox_collector.store import Database, LabelledRelease
from tests.spans import WEEK

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ISSUED = date(2026, 12, 4)


def inputs(audit: dict[str, Any], attacks: dict[str, Any]) -> Inputs:
    return Inputs(SANDBOX, ISSUED, operations_of(Settings()), audit, attacks)


def dataset_from(database: Database, given: Inputs) -> Dataset:
    with database.read() as transaction:
        labelled = transaction.release(WEEK, "publish")
        history = transaction.ledger()
    assert labelled is not None
    return dataset_of(
        LabelledRelease(labelled.release, synthetic=labelled.synthetic),
        history,
        database.schema,
        publisher=given.publisher,
        issued=given.issued,
        code=this_code(),
    )
