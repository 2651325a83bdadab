"""Consent on this machine: the question, the answer, the files that hold it, and the program's switch."""
