"""A tokenizer as far as types need one: ids with offsets, and which ids end a turn.

It takes fast tokenizers of Hugging Face, anything that is called like them, and a bare
``tokenizers.Tokenizer``.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np

from ..contract.errors import DeclarationError, ObservationError
from .arrays import Integers

__all__ = ["Spelling"]

_COORDINATE = re.compile(r"<\|coord_\d+\|>")


class Spelling:
    """How a tokenizer spells a text.

    Args:
        tokenizer: a fast tokenizer.

    Raises:
        DeclarationError: it gives no offsets: a slow tokenizer, or no tokenizer at all.

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.WordLevel({"a": 0, "dog": 1}, unk_token="a"))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> ids, offsets = Spelling(tokenizer).encode("a dog")
    >>> ids.tolist(), offsets.tolist()
    ([0, 1], [[0, 1], [2, 5]])
    """

    def __init__(self, tokenizer: Any) -> None:
        self._bare = not callable(tokenizer) and hasattr(tokenizer, "encode_batch")
        if not (self._bare or callable(tokenizer)) or getattr(tokenizer, "is_fast", True) is False:
            raise DeclarationError(
                f"{type(tokenizer).__name__} gives no offsets; token types need a fast tokenizer"
            )
        self.tokenizer = _untruncated(tokenizer) if self._bare else tokenizer
        self._specials: frozenset[int] | None = None

    @classmethod
    def of(cls, tokenizer: Any) -> Spelling:
        """The spelling of a tokenizer; one that is a Spelling already is kept."""
        return tokenizer if isinstance(tokenizer, Spelling) else cls(tokenizer)

    def encode(self, text: str) -> tuple[Integers, Integers]:
        """Ids ``[n]`` and the characters that each came from ``[n, 2]``, nothing added.

        Raises:
            ObservationError: the text holds half a character (a lone surrogate).
        """
        if not text.isascii():
            _refuse_surrogates(text)
        if self._bare:
            encoding = self.tokenizer.encode(text, add_special_tokens=False)
            ids, offsets = encoding.ids, encoding.offsets
        else:
            found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids, offsets = found["input_ids"], found["offset_mapping"]
        flat = np.fromiter(chain.from_iterable(offsets), np.int64, 2 * len(ids))
        return np.array(ids, np.int64), flat.reshape(-1, 2)

    def is_special(self, token: int) -> bool:
        """Whether a token controls the conversation; a coordinate does not, however declared."""
        if self._specials is None:
            self._specials = frozenset(self._find_specials())
        return token in self._specials

    def is_blank(self, token: int) -> bool:
        """Whether a token spells nothing but white space."""
        text: str = self.tokenizer.decode([token])
        return not text.strip()

    def _find_specials(self) -> set[int]:
        if self._bare:
            added = self.tokenizer.get_added_tokens_decoder()
        else:
            added = getattr(self.tokenizer, "added_tokens_decoder", {})
        coordinates = {i for i, token in added.items() if _COORDINATE.fullmatch(token.content)}
        specials = {i for i, token in added.items() if token.special}
        return (specials | set(getattr(self.tokenizer, "all_special_ids", ()))) - coordinates


def _untruncated(tokenizer: Any) -> Any:
    """A copy where the original would cut or pad; it is somebody else's and stays as it is."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as why:
        raise ObservationError(
            "token_types", "payload", text[why.start], f"has half a character at {why.start}"
        ) from None
