"""Staged reports -> sums: one module for each place in which the sums can be made."""
