"""Span -> counts: the private pipeline of a process, in memory and beside the program."""
