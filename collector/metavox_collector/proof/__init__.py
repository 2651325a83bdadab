"""What lets a stranger check a release: raw numbers, ledger, parameters, the two reports, and the signature."""
