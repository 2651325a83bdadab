"""The journal: the one SQLite file of anonymous counts, and the ledger of the reports made of them."""
