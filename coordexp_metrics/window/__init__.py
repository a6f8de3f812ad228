"""Floor 2: one optimizer step's state. Observe micro-batches, close once, get a payload."""

from .window import Window

__all__ = ["Window"]
