"""``python -m metavox_collector``."""

from metavox_collector.cli import main

main()
