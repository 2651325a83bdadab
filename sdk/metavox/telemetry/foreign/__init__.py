"""The spans of other instrumentations, read through one table of names."""
