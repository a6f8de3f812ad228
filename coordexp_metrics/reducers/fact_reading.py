"""What a trainer hands over becomes columns: objects, mappings, or columns as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias, TypedDict

import numpy as np

from ..catalogue.two_channel import DropReasons
from ..contract.errors import ObservationError
from ..contract.keys import near
from ..rollouts.facts import RolloutFacts
from .fact_columns import (
    MODE,
    OTHER,
    Column,
    Facts,
    column_of,
    is_tensor,
    kind_of,
    list_column,
    moved,
    number,
)

__all__ = ["BUCKETS", "RolloutColumns", "Samples", "read_facts"]

NAMES = tuple(field.name for field in fields(RolloutFacts))
REASONS = "dropped_by_reason"
BUCKETS = tuple(metric.name for metric in DropReasons.metrics_and_laws()[0])


class RolloutColumns(TypedDict, total=False):
    """One column a fact, ``[N]``: a list, a numpy array, or a tensor on any device.

    None in a list is not known; of an array or a tensor, ``(column, mask)`` says which are known.
    ``decode_mode`` is one string for all, a list of them, or bools that say where beams were used.
    ``dropped_by_reason`` is a mapping of columns.
    """

    gen_new_tokens: Any
    prompt_len: Any
    rollout_len: Any
    train_len: Any
    append_len: Any
    encoded_len: Any
    decode_mode: Any
    truncated: Any
    invalid_rollout: Any
    closure_dropped: Any
    dropped_invalid: Any
    dropped_ambiguous: Any
    dropped_by_reason: Any
    gt_objects: Any
    pred_objects: Any
    matched: Any
    excluded: Any
    fn_appended: Any
    candidate_pairs: Any
    gating_rejections: Any
    maskiou_sum: Any
    maskiou_count: Any
    prefix_coord_targets: Any
    tail_tokens: Any
    tail_tokens_ignored: Any
    desc_pairs: Any
    desc_exact: Any
    desc_semantic: Any
    desc_sim_sum: Any
    desc_sim_count: Any


Samples: TypeAlias = (
    "Sequence[RolloutFacts | Mapping[str, Any]] | Mapping[str, Any] | RolloutColumns"
)


def read_facts(samples: Any) -> Facts:
    """The facts of ``samples``: objects, mappings, or one mapping of columns.

    Raises:
        ObservationError: a name that is no fact, or columns that cannot be read at all.

    >>> read_facts([RolloutFacts(matched=2), {"matched": True}]).columns["matched"].known
    array([ True, False])
    """
    if isinstance(samples, Mapping):
        return _from_columns(samples)
    if isinstance(samples, (RolloutFacts, str)) or not isinstance(samples, Iterable):
        raise _unusable("samples", samples, "must be a sequence of facts, or a mapping of columns")
    return _from_samples(list(samples))


def _from_samples(samples: list[Any]) -> Facts:
    lists: dict[str, list[Any]] = {}
    if all(type(sample) is RolloutFacts for sample in samples):
        lists = {name: [getattr(sample, name) for sample in samples] for name in NAMES}
    else:
        rows = [_row(index, sample) for index, sample in enumerate(samples)]
        lists = {name: [row.get(name) for row in rows] for name in NAMES}
    reasons = lists.pop(REASONS)
    columns = {name: column for name in lists if (column := list_column(name, lists[name]))}
    return Facts(np, len(samples), columns | _reasons(reasons, lists["dropped_invalid"]))


def _row(index: int, sample: Any) -> Mapping[str, Any]:
    if isinstance(sample, Mapping):
        _refuse_unknown(sample)
        return sample
    if isinstance(sample, RolloutFacts):
        return {name: getattr(sample, name) for name in NAMES}
    raise _unusable(f"samples[{index}]", sample, "must be RolloutFacts or a mapping")


def _refuse_unknown(names: Mapping[str, Any]) -> None:
    for name in names:
        if name not in NAMES:
            hint = near(name, NAMES) if isinstance(name, str) else ()
            meant = f"; did you mean {', '.join(map(repr, hint))}?" if hint else ""
            raise _unusable("fact", name, f"is none of RolloutFacts{meant}")


def _reasons(rows: list[Any], dropped: list[Any]) -> dict[str, Column]:
    """One column a bucket; a reason that no bucket names counts as ``other``.

    A sample without reasons that dropped nothing has 0 of each; one that dropped something has
    reasons that nobody told.
    """
    tables = [_table(row, count) for row, count in zip(rows, dropped, strict=True)]
    columns = {}
    for bucket in BUCKETS:
        cells = [None if table is None else table[bucket] for table in tables]
        column = list_column(f"reason/{bucket}", cells)
        if column is not None:
            columns[f"reason/{bucket}"] = column
    return columns


def _table(row: Any, dropped: Any) -> dict[str, Any] | None:
    if not row:
        return dict.fromkeys(BUCKETS, 0) if dropped == 0 else None
    if not isinstance(row, Mapping):
        return dict.fromkeys(BUCKETS, row)
    table: dict[str, Any] = dict.fromkeys(BUCKETS, 0)
    for reason, count in row.items():
        if reason in table and reason != OTHER:
            table[reason] = count
        elif table[OTHER] == 0:
            table[OTHER] = count
        else:
            numbers = number(OTHER, table[OTHER]) + number(OTHER, count)
            table[OTHER] = int(numbers) if np.isfinite(numbers) else np.nan
    return table


def _from_columns(columns: Mapping[str, Any]) -> Facts:
    _refuse_unknown(columns)
    flat = {name: column for name, column in columns.items() if column is not None}
    reasons = _buckets(flat.pop(REASONS, None) or {})
    size = _size(flat | reasons)
    if reasons:
        flat |= {f"reason/{bucket}": [0] * size for bucket in BUCKETS} | reasons
    xp, device = _home(flat.values())
    read = {}
    for name, column in flat.items():
        made = _column(name, column, size, xp, device)
        if made is not None:
            read[name] = made
    return Facts(xp, size, read)


def _buckets(reasons: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``reasons``; one that no bucket names counts as ``other``."""
    found: dict[str, Any] = {}
    for reason, column in reasons.items():
        bucket = f"reason/{reason if reason in BUCKETS else OTHER}"
        if bucket in found:
            raise _unusable(REASONS, reason, "is a second column of reasons that count as 'other'")
        found[bucket] = column
    return found


def _size(columns: Mapping[str, Any]) -> int:
    sizes = {}
    for name, column in columns.items():
        if name == MODE and isinstance(column, str):
            continue
        column = column[0] if _is_masked(column) else column
        shape = tuple(getattr(column, "shape", ())) or (
            (len(column),) if isinstance(column, (list, tuple)) else ()
        )
        if len(shape) != 1:
            raise _unusable(name, shape, "must be a column of shape [N]")
        sizes[name] = shape[0]
    if len(set(sizes.values())) > 1:
        raise _unusable("columns", str(sizes), "must be equally long")
    return next(iter(sizes.values()), 0)


def _is_masked(column: Any) -> bool:
    return isinstance(column, tuple) and len(column) == 2 and kind_of(column[1]) == "b"


def _home(columns: Iterable[Any]) -> tuple[Any, Any]:
    """numpy; or torch and the device of the first tensor that is not on the host."""
    parts = [part for column in columns for part in (column if _is_masked(column) else (column,))]
    devices = [part.device for part in parts if is_tensor(part)]
    if not devices:
        return np, None
    import torch

    return torch, next((device for device in devices if device.type != "cpu"), devices[0])


def _column(name: str, column: Any, size: int, xp: Any, device: Any) -> Column | None:
    if name == MODE and isinstance(column, str):
        column = [column] * size
    values, given = column if _is_masked(column) else (column, None)
    if kind_of(values):
        return column_of(name, values, given, xp, device)
    made = list_column(name, values.tolist() if isinstance(values, np.ndarray) else values)
    if made is None or xp is np:
        return made
    parts = zip(made, (False, True, True), strict=True)
    return Column(*(moved(part, xp, device, as_mask=mask) for part, mask in parts))


def _unusable(argument: str, value: object, why: str) -> ObservationError:
    return ObservationError("RolloutReducer", argument, value, why)
