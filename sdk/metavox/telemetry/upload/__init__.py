"""Journal -> collector: the weekly report, its exact bytes, and the only socket of the SDK."""
