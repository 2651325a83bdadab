"""Where a machine stands beside what was released."""
