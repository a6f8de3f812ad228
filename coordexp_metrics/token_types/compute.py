"""A supervised token has the type of the text that it came from, or the sample has no types.

The payload is spelled, tokenised once, and compared with the supervised labels id by id. Equal ids
came from equal text, so each token's characters are known. Nothing else is ever assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract.errors import ObservationError
from .arrays import Integers, as_integers, like
from .codes import COORD, DESC, FORMAT, IGNORE, UNSUPERVISED
from .coordjson import FieldOrder, TypedText, read_coordjson, write_coordjson
from .spelling import Spelling

__all__ = ["MAX_TAIL", "Misalignment", "TokenTyping", "compute_token_types", "majority"]

MAX_TAIL = 4


@dataclass(frozen=True)
class Misalignment:
    """The first place where the labels are not the payload.

    Attributes:
        position: in the labels; their length where they end too early.
        index: among the supervised labels.
        expected: the id that the payload has there; None where the payload has ended.
        found: the id that the labels have there; None where the labels have ended.

    >>> str(Misalignment(position=9, index=2, expected=7, found=None))
    'the labels end at position 9 (supervised token 2), where the payload has id 7'
    """

    position: int
    index: int
    expected: int | None
    found: int | None

    def __str__(self) -> str:
        where = f"position {self.position} (supervised token {self.index})"
        if self.found is None:
            return f"the labels end at {where}, where the payload has id {self.expected}"
        if self.expected is None:
            return f"the payload has ended before {where}, where the labels have id {self.found}"
        return f"at {where} the payload has id {self.expected}, the labels {self.found}"


@dataclass(frozen=True)
class TokenTyping:
    """What became of one sample.

    Attributes:
        types: IGNORE, DESC, COORD or FORMAT for each label, in kind; None if misaligned.
        misalignment: where it failed, or None.
    """

    types: Any
    misalignment: Misalignment | None = None

    @property
    def aligned(self) -> bool:
        """Whether every supervised token has a type.

        >>> TokenTyping([-1, 3]).aligned
        True
        """
        return self.misalignment is None


def compute_token_types(
    tokenizer: Any,
    payload: Mapping[str, Any] | str | None,
    labels: Any,
    *,
    field_order: FieldOrder = "as_given",
    ensure_ascii: bool = False,
    prefix: str = "",
    max_tail: int = MAX_TAIL,
) -> TokenTyping:
    """The type of each label of one sample, before anything is packed.

    Args:
        tokenizer: a fast tokenizer of Hugging Face, or a ``tokenizers.Tokenizer``.
        payload: what the assistant answered, as objects or as CoordJSON text.
        labels: the sample's labels ``[S]``, -100 where nothing is supervised: a list, an array or
            a tensor. The supervised ones are the payload's ids and a tail of at most ``max_tail``
            tokens: special ones, and after the first of them also white space. The tail is FORMAT.
        field_order: see `write_coordjson`.
        ensure_ascii: see `write_coordjson`.
        prefix: text that stands before the payload without a special token between, for tokenizers
            whose first ids depend on it.
        max_tail: how many tokens may follow the payload.

    Raises:
        ObservationError: the payload is no CoordJSON, or the labels are no integers ``[S]``.
        DeclarationError: the tokenizer gives no offsets.

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> words = ['{"', 'objects', '":', '[{"', 'desc', '"', 'dog', '"}]}']
    >>> ids = {word: i for i, word in enumerate(words)}
    >>> tokenizer = Tokenizer(models.WordLevel(ids, unk_token="dog"))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> labels = [-100, 0, 1, 2, 3, 4, 2, 5, 6, 7]
    >>> compute_token_types(tokenizer, {"objects": [{"desc": "dog"}]}, labels).types
    [-1, 3, 3, 3, 3, 3, 3, 3, 1, 3]
    """
    given = as_integers(labels, "labels")
    if given.ndim != 1:
        raise ObservationError("token_types", "labels", str(given.shape), "must be one sample, [S]")
    types = np.full(given.shape, IGNORE, np.int64)
    places = np.flatnonzero(given != UNSUPERVISED)
    if not places.size:
        return TokenTyping(like(labels, types))
    if payload is None:
        raise ObservationError("token_types", "payload", None, "is needed where labels are")
    spelling = Spelling.of(tokenizer)
    typed = (
        read_coordjson(payload)
        if isinstance(payload, str)
        else write_coordjson(payload, field_order, ensure_ascii)
    )
    ids, offsets = _encoded(spelling, typed, prefix)
    misalignment = _compare(spelling, ids, given, places, max_tail)
    if misalignment is not None:
        return TokenTyping(None, misalignment)
    types[places[: len(ids)]] = majority(typed.types, offsets)
    types[places[len(ids) :]] = FORMAT
    return TokenTyping(like(labels, types))


def majority(types: NDArray[np.int8], offsets: Integers) -> Integers:
    """The type that most of a token's characters have; a tie goes to content, not to structure.

    Args:
        types: of each character.
        offsets: ``[n, 2]``, the first character of a token and the one after its last. A token of
            no character has the type of the character where it stands.

    Running counts make it linear: a token's count is a difference.

    >>> characters = np.array([FORMAT, DESC, DESC, FORMAT], np.int8)
    >>> majority(characters, np.array([[0, 2], [2, 4], [0, 4], [3, 3]])).tolist()
    [1, 1, 1, 3]
    """
    start = offsets[:, 0].clip(0, len(types) - 1)
    stop = offsets[:, 1].clip(start + 1, len(types))
    coord, desc = (_counted(types == kind, start, stop) for kind in (COORD, DESC))
    rest = stop - start - coord - desc
    content = np.where(coord >= desc, COORD, DESC)
    return np.where(np.maximum(coord, desc) >= rest, content, FORMAT)


def _counted(mask: NDArray[np.bool_], start: Integers, stop: Integers) -> Integers:
    running = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(mask, out=running[1:])
    return running[stop] - running[start]


def _encoded(spelling: Spelling, typed: TypedText, prefix: str) -> tuple[Integers, Integers]:
    ids, offsets = spelling.encode(prefix + typed.text)
    if not prefix:
        return ids, offsets
    offsets = offsets - len(prefix)
    ours = offsets[:, 1] > 0
    return ids[ours], offsets[ours]


def _compare(
    spelling: Spelling, ids: Integers, labels: Integers, places: Integers, max_tail: int
) -> Misalignment | None:
    """None if the supervised labels are the ids and a tail that may follow them."""
    found = labels[places]
    common = min(len(ids), len(found))
    different = np.flatnonzero(ids[:common] != found[:common])
    if different.size:
        index = int(different[0])
        return Misalignment(int(places[index]), index, int(ids[index]), int(found[index]))
    if len(found) < len(ids):
        return Misalignment(len(labels), common, int(ids[common]), None)
    for index, token in enumerate(map(int, found[common : common + max_tail + 1]), common):
        allowed = spelling.is_special(token) or (index > common and spelling.is_blank(token))
        if not allowed or index - common >= max_tail:
            return Misalignment(int(places[index]), index, None, token)
    return None
