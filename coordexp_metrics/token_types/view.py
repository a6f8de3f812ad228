"""A payload token by token, for the eye: what each token spells, and its type.

Every character is shown once, by the first token that came from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from .compute import majority
from .coordjson import FieldOrder, read_coordjson, write_coordjson
from .spelling import Spelling

__all__ = ["TypedToken", "typed_tokens"]


class TypedToken(NamedTuple):
    """A token of a payload.

    Attributes:
        id: in the tokenizer's vocabulary.
        text: the characters that it came from; empty if an earlier token shows them.
        type: DESC, COORD or FORMAT.
        straddles: whether its characters have several types.
    """

    id: int
    text: str
    type: int
    straddles: bool


def typed_tokens(
    tokenizer: Any, payload: Mapping[str, Any] | str, field_order: FieldOrder = "as_given"
) -> list[TypedToken]:
    """The tokens of a payload with their types; their texts together are the payload.

    Raises:
        ObservationError: the payload is no CoordJSON.
        DeclarationError: the tokenizer gives no offsets.

    >>> from tokenizers import Tokenizer, models
    >>> tokenizer = Tokenizer(models.WordLevel({'{"objects": []}': 0}, unk_token="?"))
    >>> typed_tokens(tokenizer, {"objects": []})
    [TypedToken(id=0, text='{"objects": []}', type=3, straddles=False)]
    """
    text, types = (
        read_coordjson(payload)
        if isinstance(payload, str)
        else write_coordjson(payload, field_order)
    )
    ids, offsets = Spelling.of(tokenizer).encode(text)
    found = majority(types, offsets)
    ends = [0, *accumulate(offsets[:, 1].tolist(), max)]
    ends[-1] = len(text) if len(ids) else 0
    return [
        TypedToken(token, text[start:stop], kind, len({*types[start:stop].tolist()}) > 1)
        for token, kind, (start, stop) in zip(
            ids.tolist(), found.tolist(), pairwise(ends), strict=True
        )
    ]
