"""Every record of a rollout is an object, is dropped under one name, or was cut by the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ..contract.errors import DeclarationError, ObservationError
from .objects import DetectedObject, FieldOrder, ParsedRollout
from .records import AMBIGUOUS, REASONS, Verdict, judge, read_usual, usual_record
from .scanner import after_gap, element_end, prefix_end

__all__ = ["END_OF_TURN", "REASONS", "parse_rollout"]

END_OF_TURN = ("<|im_end|>", "<|endoftext|>")


def parse_rollout(
    text: str,
    field_order: FieldOrder = "desc_first",
    *,
    end_of_turn: Sequence[str] = END_OF_TURN,
) -> ParsedRollout:
    """Read generated CoordJSON strictly; keep each valid object (``metrics_and_losses.md:178``).

    Args:
        text: what the model wrote, ``{"objects": [{"desc": ..., "bbox_2d": [...]}, ...]}`` with
            bare coordinate tokens ``<|coord_0|>`` to ``<|coord_999|>`` in geometry arrays.
        field_order: ``desc_first`` or ``geometry_first``; the other order is a violation.
        end_of_turn: tokens that end the text wherever they stand.

    Any text has a result, in time proportional to its length.

    Raises:
        DeclarationError: the field order is unknown.
        ObservationError: the text is no str.

    >>> cut = '{"objects": [{"desc": "cat", "bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>'
    >>> parse_rollout(cut).truncated
    True
    >>> whole = parse_rollout(cut + ', <|coord_4|>]}, {"desc": ""}]}<|im_end|>')
    >>> whole.objects[0].points, whole.dropped_by_reason
    ((1, 2, 3, 4), {'missing_desc': 1})
    """
    if field_order not in ("desc_first", "geometry_first"):
        raise DeclarationError(
            f"field_order is {field_order!r}; it must be 'desc_first' or 'geometry_first'"
        )
    if not isinstance(text, str):
        raise ObservationError("parse_rollout", "text", text, "must be a str; decode bytes first")
    stop = min(
        (at for at in map(text.find, filter(None, end_of_turn)) if at >= 0), default=len(text)
    )
    start = prefix_end(text, stop)
    if start is None:
        return ParsedRollout(invalid=True)
    return _folded(start, _records(text, start, stop, field_order))


def _records(
    text: str, at: int, stop: int, field_order: FieldOrder
) -> Iterator[tuple[int, int, Verdict | None]]:
    """Each record, from where to where, and what it is; None if the end of the text cut it."""
    usual: re.Pattern[str] = usual_record(field_order)
    while (at := after_gap(text, at, stop)) < stop and text[at] not in "]}":
        if found := usual.match(text, at, stop):
            end = found.end()
            yield at, end, read_usual(found, field_order)
        else:
            closed = element_end(text, at, stop)
            if closed is None:
                yield at, stop, None
                return
            end = closed
            yield at, end, judge(text, at, end, field_order)
        at = end


def _folded(append_at: int, records: Iterator[tuple[int, int, Verdict | None]]) -> ParsedRollout:
    objects: list[DetectedObject] = []
    spans: list[tuple[int, int]] = []
    dropped: Counter[str] = Counter()
    truncated = False
    for start, end, verdict in records:
        if isinstance(verdict, DetectedObject):
            objects.append(verdict)
            spans.append((start, end))
        elif verdict is not None:
            dropped[verdict] += 1
        truncated = verdict is None
        append_at = append_at if truncated else end
    ambiguous = dropped.pop(AMBIGUOUS, 0)
    return ParsedRollout(
        objects=tuple(objects),
        dropped_invalid=dropped.total(),
        dropped_by_reason={reason: dropped[reason] for reason in REASONS if dropped[reason]},
        dropped_ambiguous=ambiguous,
        truncated=truncated,
        spans=tuple(spans),
        append_at=append_at,
    )
