"""The ops that are compiled for the machine they run on, each beside the C source that it calls."""
