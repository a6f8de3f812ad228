"""Floor 0: what a metric is. Declarations, laws, names and payloads; no torch, no I/O."""
