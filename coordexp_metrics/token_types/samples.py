"""A line of a data set, in any of the forms that they have, is an answer and perhaps its labels."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..contract.errors import ObservationError
from ..rollouts.objects import BINS, pixel_bin

__all__ = ["Sample", "read_sample"]

FORMS = "assistant_payload, objects, gt, messages, or be CoordJSON itself"
DRAWN = ("desc", "bbox_2d", "poly")


class Sample(NamedTuple):
    """What one line says.

    Attributes:
        payload: objects, or CoordJSON text.
        labels: where the line has them.
    """

    payload: Mapping[str, Any] | str
    labels: Sequence[int] | None


def read_sample(line: str) -> Sample:
    """The assistant's answer in a line.

    Args:
        line: an object with ``assistant_payload``, ``messages``, ``objects``, or ground truth
            ``gt`` in pixels, which become bins of ``width`` and ``height``; or the answer
            itself, which is no JSON, because its coordinates are bare.

    Raises:
        ObservationError: there is none.

    >>> image = '"coord_mode": "pixel", "width": 10, "height": 20'
    >>> read_sample(f'{{{image}, "gt": [{{"bbox_2d": [3, 0, 9, 19]}}]}}').payload
    {'objects': [{'bbox_2d': [333, 0, 999, 999]}]}
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return Sample(line.strip(), None)
    if not isinstance(row, dict):
        raise _unusable(row, f"is no sample; it may have {FORMS}")
    payload = row.get("assistant_payload") or _said(row.get("messages")) or _truth(row)
    if payload is None and "objects" in row:
        payload = {"objects": row["objects"]}
    if payload is None:
        raise _unusable(row, f"has no answer; it may have {FORMS}")
    return Sample(payload, row.get("labels"))


def _said(messages: Any) -> str | None:
    """What the assistant said last."""
    turns = messages if isinstance(messages, list) else []
    said = [t for t in turns if isinstance(t, dict) and t.get("role") == "assistant"]
    content = said[-1].get("content") if said else None
    if isinstance(content, list):
        content = "".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else None


def _truth(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ground truth as it would be answered."""
    if not isinstance(row.get("gt"), list):
        return None
    sizes = (row.get("width"), row.get("height"))
    if row.get("coord_mode") != "pixel":
        sizes = (BINS, BINS)
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise _unusable(row, "has pixels but no width and height")
    return {"objects": [_binned(thing, sizes) for thing in row["gt"] if isinstance(thing, dict)]}


def _binned(thing: Mapping[str, Any], sizes: tuple[Any, Any]) -> dict[str, Any]:
    def bins(values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return [_bin(value, sizes[axis % 2]) for axis, value in enumerate(values)]

    known = {key: thing[key] for key in DRAWN if key in thing}
    return {key: value if key == "desc" else bins(value) for key, value in known.items()}


def _bin(value: Any, size: int) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return pixel_bin(value, size) if number and math.isfinite(value) else value


def _unusable(row: object, why: str) -> ObservationError:
    return ObservationError("token_types", "the line", row, why)
