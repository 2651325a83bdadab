"""Who may send how much, told from counts that hold no address."""

from metavox_collector.admission.addresses import Network, client_of
from metavox_collector.admission.admission import (
    REASONS,
    Action,
    Admission,
    Limits,
    Throttled,
    Unauthorized,
    shared_counts,
)
from metavox_collector.admission.tokens import Tokens, mint, read

__all__ = [
    "REASONS",
    "Action",
    "Admission",
    "Limits",
    "Network",
    "Throttled",
    "Tokens",
    "Unauthorized",
    "client_of",
    "mint",
    "read",
    "shared_counts",
]
