"""The state of the metrics lies in the checkpoint it belongs to, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["STATE_NAME", "read_state", "write_state"]

STATE_NAME = "coordexp_metrics.json"


def write_state(checkpoint: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` into a checkpoint, whole or not at all."""
    target = checkpoint / STATE_NAME
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.replace(target)


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """The state in a checkpoint; None where it was saved without metrics.

    Raises:
        ValueError: what lies there is no state.
    """
    try:
        text = (checkpoint / STATE_NAME).read_text()
    except FileNotFoundError:
        return None
    state = json.loads(text)
    if not isinstance(state, dict):
        raise ValueError(f"{checkpoint / STATE_NAME} holds no state of the metrics")
    return state
