"""The composition root of a release: dataset, documents and proof -> one signed directory, and back to verdicts."""
