"""Floor 4: finished logs, read back and checked; no torch."""
