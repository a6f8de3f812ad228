"""Which tokens carry which loss: one table, row by row as the reference states it.

A span is a stretch of tokens of one origin. Token cross-entropy (``struct_ce``, ``desc_ce``) never
reads a coordinate token, in no span: its column ``coord_ce`` is off throughout. ``coord`` says
where the terms of coord_reg stand, the hard ``coord_token_ce`` among them, each by its own weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..contract.errors import ObservationError
from ..contract.modules import ROLLOUT_ALIGNED, TWO_CHANNEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Booleans: TypeAlias = NDArray[np.bool_]

__all__ = ["TRUTH_TABLE", "LossMasks", "Span", "Supervision", "build_masks", "truth_table"]


class Span(IntEnum):
    """Where a token comes from; the codes of the spans in an array."""

    NONE = 0
    GT_ANCHOR = 1
    SELF_CONTEXT = 2
    MATCHED_PREFIX = 3
    FP_PREFIX = 4
    FN_INJECTED = 5
    CLOSURE = 6
    ALIGNED_PREFIX = 7
    ALIGNED_TAIL = 8


class Supervision(NamedTuple):
    """A row of the table: which losses the tokens of a span carry.

    Attributes:
        where: variant and forward pass.
        tokens: what the span holds.
        struct_ce, desc_ce, coord_ce: token cross-entropy at structure, descriptions, coordinates.
        coord: the terms of coord_reg at coordinate tokens.
        geometry: the box terms, on boxes decoded from coordinate tokens.
        source: lines of ``metrics_and_losses.md``, or what follows from them.
    """

    where: str
    tokens: str
    struct_ce: bool
    desc_ce: bool
    coord_ce: bool
    coord: bool
    geometry: bool
    source: str


_ON, _OFF = True, False
_A1, _A2 = f"{TWO_CHANNEL}, Channel-A, A1", f"{TWO_CHANNEL}, Channel-A, A2"
_B, _ALIGNED = f"{TWO_CHANNEL}, Channel-B", f"{ROLLOUT_ALIGNED}"

TRUTH_TABLE: Mapping[Span, Supervision] = MappingProxyType({
    Span.NONE: Supervision(
        "any", "the prompt, padding, an unmatched object of the aligned prefix",
        _OFF, _OFF, _OFF, _OFF, _OFF, "no target",
    ),
    Span.GT_ANCHOR: Supervision(
        _A1, "the whole ground-truth answer", _ON, _ON, _OFF, _OFF, _OFF, "95, 103",
    ),
    Span.SELF_CONTEXT: Supervision(
        _A2, "the whole answer, <|im_end|> included", _ON, _OFF, _OFF, _ON, _ON, "96, 101-105",
    ),
    Span.MATCHED_PREFIX: Supervision(
        _B, "rollout objects that match", _ON, _OFF, _OFF, _ON, _ON, "122, 125",
    ),
    Span.FP_PREFIX: Supervision(
        _B, "rollout objects that match nothing", _OFF, _OFF, _OFF, _OFF, _OFF, "123, 125",
    ),
    Span.FN_INJECTED: Supervision(
        _B, "injected objects that were missed", _ON, _ON, _OFF, _ON, _ON, "124, 125",
    ),
    Span.CLOSURE: Supervision(
        _B, "the closing markers: ]} and <|im_end|>", _ON, _OFF, _OFF, _OFF, _OFF, "280-282",
    ),
    Span.ALIGNED_PREFIX: Supervision(
        _ALIGNED, "rollout objects that match", _OFF, _OFF, _OFF, _ON, _ON, "84",
    ),
    Span.ALIGNED_TAIL: Supervision(
        _ALIGNED, "the appended ground truth and its closing markers",
        _ON, _ON, _OFF, _ON, _ON, "85-87",
    ),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class LossMasks:
    """Boolean arrays of the shape of the tokens.

    Attributes:
        struct_ce, desc_ce: where token cross-entropy reads structure, and descriptions.
        coord: coordinate tokens under the terms of coord_reg.
        geometry: coordinate tokens that the box terms may decode; they read boxes alone.
    """

    struct_ce: Booleans
    desc_ce: Booleans
    coord: Booleans
    geometry: Booleans


def build_masks(token_types: Any, spans: Any) -> LossMasks:
    """The masks of tokens whose types and spans are known (``metrics_and_losses.md:119``).

    Args:
        token_types: integers of any shape: IGNORE -1, DESC 1, COORD 2, FORMAT 3, as
            `coordexp_metrics.token_types` gives them. IGNORE carries nothing.
        spans: codes of `Span`, of the same shape.

    Raises:
        ObservationError: the shapes differ, or a code is unknown.

    >>> masks = build_masks([3, 1, 2], [Span.MATCHED_PREFIX] * 3)
    >>> masks.struct_ce.tolist(), masks.desc_ce.tolist(), masks.coord.tolist()
    ([True, False, False], [False, False, False], [False, False, True])
    """
    import numpy as np

    from ..token_types.codes import COORD, DESC, FORMAT, IGNORE

    types = _codes("token_types", token_types, (IGNORE, DESC, COORD, FORMAT))
    where = _codes("spans", spans, tuple(Span))
    if types.shape != where.shape:
        raise ObservationError("build_masks", "spans", where.shape, f"must be {types.shape}")
    rows = np.array([TRUTH_TABLE[span][2:7] for span in Span])
    struct_ce, desc_ce, _, coord, geometry = np.moveaxis(rows[where], -1, 0)
    return LossMasks(
        struct_ce=struct_ce & (types == FORMAT),
        desc_ce=desc_ce & (types == DESC),
        coord=coord & (types == COORD),
        geometry=geometry & (types == COORD),
    )


def _codes(argument: str, given: Any, known: tuple[int, ...]) -> NDArray[np.int64]:
    import numpy as np

    codes = np.asarray(given)
    if codes.dtype.kind not in "iu" and codes.size:
        raise ObservationError("build_masks", argument, str(codes.dtype), "must be integers")
    strange = codes[~np.isin(codes, known)]
    if strange.size:
        raise ObservationError(
            "build_masks", argument, int(strange[0]), f"must hold {', '.join(map(str, known))} only"
        )
    return codes.astype(np.int64)


def truth_table() -> str:
    """The table as Markdown, as the documentation shows it.

    >>> print(truth_table().splitlines()[0])
    | span | where | tokens | struct CE | desc CE | coord CE | coord_reg | geometry | lines |
    """
    losses = ["struct CE", "desc CE", "coord CE", "coord_reg", "geometry"]
    head = ["span", "where", "tokens", *losses, "lines"]
    rows = [
        [f"`{span.name}`", row.where, row.tokens, *("on" if on else "–" for on in row[2:7]), row[7]]
        for span, row in TRUTH_TABLE.items()
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])
