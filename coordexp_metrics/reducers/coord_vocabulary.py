"""A coordinate bin is a token id; bins are ordered, their ids may stand anywhere."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..contract.errors import DeclarationError

__all__ = ["CoordVocabulary", "coord_token_ids_from"]

BINS = 1000
SHOWN = 5


class CoordVocabulary:
    """K bins and their token ids: bin k is spelled by the k-th id.

    Args:
        ids: token ids in the order of the bins; contiguous, permuted or anywhere.

    Raises:
        DeclarationError: there are none, or some are no whole numbers, negative or given twice.

    >>> vocabulary = CoordVocabulary([7, 5, 9])
    >>> vocabulary.bins_of(torch.tensor([5, 6, 9]))
    tensor([ 1, -1,  2])
    """

    def __init__(self, ids: Iterable[int] | Tensor) -> None:
        self.ids = _whole_numbers(ids)
        _refuse(self.ids)
        order = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        low, high = self.ids[order[0]], self.ids[order[-1]] + 1
        self.span = slice(low, high) if high - low == len(self.ids) else None
        self.ordered = self.span is not None and order == list(range(len(self.ids)))
        self._sorted = [self.ids[k] for k in order]
        self._order = order
        self._on: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def refuse_beyond(self, vocabulary_size: int) -> None:
        """Raise a DeclarationError that says which ids the logits do not reach."""
        if self._sorted[-1] >= vocabulary_size:
            beyond = [i for i in self._sorted if i >= vocabulary_size]
            raise DeclarationError(
                f"coord_token_ids {_shown(beyond)} lie outside the vocabulary of the logits, "
                f"which has {vocabulary_size} ids; pass the ids of the model's own tokenizer"
            )

    def ids_on(self, device: torch.device) -> Tensor:
        """Token ids by bin: int64 ``[K]``."""
        return self._tables(device)[0]

    def bins_of(self, tokens: Tensor) -> Tensor:
        """The bin of each token id, -1 for a token that is no coordinate: int64, any shape."""
        if self.ordered and self.span is not None:
            inside = (tokens >= self.span.start) & (tokens < self.span.stop)
            return torch.where(inside, tokens - self.span.start, -1)
        _, ascending, bins = self._tables(tokens.device)
        place = torch.searchsorted(ascending, tokens.contiguous()).clamp_(max=len(self.ids) - 1)
        return torch.where(ascending[place] == tokens, bins[place], -1)

    def forget(self, values: Tensor, offset: int = 0) -> None:
        """Write zero at the coordinates of ``values [n, w]``, whose first id is ``offset``."""
        if self.span is not None:
            start, stop = self.span.start - offset, self.span.stop - offset
            if start < values.shape[1] and stop > 0:
                values[:, max(start, 0) : stop].zero_()
            return
        first, last = (bisect_left(self._sorted, i) for i in (offset, offset + values.shape[1]))
        if first < last:
            inside = self._tables(values.device)[1][first:last]
            values.index_fill_(1, inside - offset, 0.0)

    def take(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The coordinate logits of some rows, by bin: ``[n, V]`` and ``[m]`` to ``[m, K]``."""
        if self.ordered and self.span is not None:
            return logits[:, self.span].index_select(0, rows)
        return logits[rows[:, None], self.ids_on(logits.device)]

    def _tables(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        tables = self._on.get(device)
        if tables is None:
            ids, ascending, bins = (
                torch.tensor(numbers, dtype=torch.int64, device=device)
                for numbers in (self.ids, self._sorted, self._order)
            )
            tables = self._on[device] = (ids, ascending, bins)
        return tables


def coord_token_ids_from(tokenizer: Any, bins: int = BINS) -> list[int]:
    """The ids of ``<|coord_0|>`` to ``<|coord_999|>`` (metrics_and_losses.md:359).

    Args:
        tokenizer: a Hugging Face tokenizer: ``convert_tokens_to_ids``, ``unk_token_id``.
        bins: K.

    Returns:
        K token ids, in the order of the bins.

    Raises:
        DeclarationError: it does not know a token, or two of them share an id.

    >>> class Tokenizer:
    ...     unk_token_id = None
    ...     def convert_tokens_to_ids(self, tokens):
    ...         return [100 + int(token[8:-2]) for token in tokens]
    >>> coord_token_ids_from(Tokenizer(), bins=3)
    [100, 101, 102]
    """
    tokens = [f"<|coord_{k}|>" for k in range(bins)]
    ids = tokenizer.convert_tokens_to_ids(tokens)
    unknown = getattr(tokenizer, "unk_token_id", None)
    missing = [token for token, i in zip(tokens, ids, strict=True) if i is None or i == unknown]
    if missing:
        raise DeclarationError(
            f"the tokenizer does not know {_shown(missing)}; add the coordinate tokens to it"
        )
    uses = Counter(ids)
    shared = [token for token, i in zip(tokens, ids, strict=True) if uses[i] > 1]
    if shared:
        raise DeclarationError(f"{_shown(shared)} share an id; every bin needs a token of its own")
    return [int(i) for i in ids]


def _whole_numbers(ids: Iterable[int] | Tensor) -> list[int]:
    numbers: Sequence[Any] = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    wrong = [i for i in numbers if isinstance(i, bool) or not hasattr(i, "__index__")]
    if wrong:
        raise DeclarationError(f"coord_token_ids {_shown(wrong)} are no whole numbers")
    return [int(i) for i in numbers]


def _refuse(ids: list[int]) -> None:
    if not ids:
        raise DeclarationError("coord_token_ids is empty; pass the token id of every bin")
    negative = [i for i in ids if i < 0]
    if negative:
        raise DeclarationError(f"coord_token_ids {_shown(negative)} are negative")
    twice = [i for i, uses in Counter(ids).items() if uses > 1]
    if twice:
        raise DeclarationError(
            f"coord_token_ids {_shown(twice)} stand for several bins; an id spells one bin"
        )


def _shown(things: Sequence[object]) -> str:
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return ", ".join(map(str, things[:SHOWN])) + more
