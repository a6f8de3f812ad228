"""What is rendered is parsed back: CoordJSON as a model is taught to write it."""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring

from ..contract.errors import DeclarationError, ObservationError
from .objects import BINS, DetectedObject, FieldOrder
from .parse import END_OF_TURN

__all__ = ["render_objects", "render_rollout"]


def render_rollout(
    objects: Sequence[DetectedObject], field_order: FieldOrder = "desc_first"
) -> str:
    """Objects as the CoordJSON text that ``parse_rollout`` reads.

    Raises:
        DeclarationError: the field order is unknown.
        ObservationError: an object has no description, or points that are no bins 0..999 in the
            right number.

    >>> render_rollout([DetectedObject("bbox_2d", (1, 2, 3, 4), "cat")])[:50]
    '{"objects": [{"desc": "cat", "bbox_2d": [<|coord_1'
    """
    return f'{{"objects": [{render_objects(objects, field_order)}]}}'


def render_objects(
    objects: Sequence[DetectedObject], field_order: FieldOrder = "desc_first"
) -> str:
    """The records alone, with commas between them: what is appended to a prefix.

    Raises:
        DeclarationError: the field order is unknown.
        ObservationError: an object cannot be spelled.
    """
    if field_order not in ("desc_first", "geometry_first"):
        raise DeclarationError(
            f"field_order is {field_order!r}; it must be 'desc_first' or 'geometry_first'"
        )
    return ", ".join(_record(item, field_order) for item in objects)


def _record(item: DetectedObject, field_order: FieldOrder) -> str:
    if not item.desc.strip():
        raise ObservationError("render_rollout", "desc", item.desc, "must say something")
    desc = f'"desc": {_quoted(item.desc)}'
    geometry = f'"{item.kind}": [{", ".join(f"<|coord_{k}|>" for k in _bins(item))}]'
    first, second = (desc, geometry) if field_order == "desc_first" else (geometry, desc)
    return f"{{{first}, {second}}}"


def _bins(item: DetectedObject) -> tuple[int, ...]:
    count = len(item.points)
    counts = {"bbox_2d": count == 4, "poly": count >= 6 and count % 2 == 0}
    if not counts.get(item.kind, False):
        raise ObservationError(
            "render_rollout",
            "points",
            count,
            "must be 4 for a bbox_2d, even and 6 or more for a poly",
        )
    for point in item.points:
        if point not in range(BINS):
            raise ObservationError("render_rollout", "points", point, "must be bins 0..999")
    return tuple(map(int, item.points))


def _quoted(desc: str) -> str:
    """JSON; a token that would end the turn is spelled with an escape, so that it does not."""
    quoted = encode_basestring(desc)
    for token in END_OF_TURN:
        quoted = quoted.replace(token, rf"\u003c{token[1:]}")
    return quoted
