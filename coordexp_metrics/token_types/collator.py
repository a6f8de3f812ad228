"""Any collator, and beside its batch the type of each label: padded, padding-free or packed.

Samples are typed one by one, before they are packed. Extras travel in the batch as ``token_types``
and ``pack_num_samples`` until `pop_batch_extras` takes them out, before ``model(**batch)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ..contract.errors import DeclarationError, MetricsError, safe_text
from .arrays import Integers, as_integers, like
from .codes import IGNORE, UNSUPERVISED
from .compute import compute_token_types
from .config import TokenTypeConfig
from .coordjson import ORDERS, FieldOrder
from .packing import joined, log, placed
from .spelling import Spelling

if TYPE_CHECKING:
    from ..window import Window

__all__ = ["BatchExtras", "TokenTypeCollator", "pop_batch_extras"]

TYPES, SAMPLES, DROPPED = "token_types", "pack_num_samples", "token_types_dropped"
HEALTH = "contract/token_types_dropped_total"
DATASET_KEYS = ("dataset", "dataset_name", "_fusion_source")

Sample: TypeAlias = Mapping[str, Any]


class _Typed(NamedTuple):
    labels: Integers
    types: Integers


class _DroppedError(Exception):
    """This batch has no types, and why."""


@dataclass(frozen=True)
class BatchExtras:
    """What travelled with a batch beside the model's inputs.

    Attributes:
        token_types: in the kind and shape of the labels; None where the batch has none.
        num_samples: samples in the batch, before packing; None where nobody counted.
        dropped: 1 where the batch should have types and could not.
    """

    token_types: Any = None
    num_samples: int | None = None
    dropped: int = 0

    def observe(self, window: Window) -> None:
        """Count a batch that lost its types, where the window's catalogue has that counter.

        >>> from coordexp_metrics import CATALOGUE
        >>> from coordexp_metrics.window import Window
        >>> BatchExtras().observe(Window(CATALOGUE, group="local"))
        """
        if self.dropped and HEALTH in window.catalogue:
            window.observe(HEALTH, self.dropped)


def pop_batch_extras(batch: MutableMapping[str, Any]) -> BatchExtras:
    """Take the extras out of a batch, so that it can go to the model; a batch may have none.

    >>> batch = {"input_ids": [[5]], "token_types": [[3]], "pack_num_samples": 1}
    >>> pop_batch_extras(batch)
    BatchExtras(token_types=[[3]], num_samples=1, dropped=0)
    >>> batch
    {'input_ids': [[5]]}
    """
    types, count, dropped = (batch.pop(key, None) for key in (TYPES, SAMPLES, DROPPED))
    return BatchExtras(types, count, dropped or 0)


class TokenTypeCollator:
    """A collator that attaches types to what another collator makes.

    Args:
        base_collator: makes a mapping with ``labels`` out of samples, or out of lists of samples
            (packs). It sees samples without the payload and the dataset label.
        tokenizer: a fast tokenizer.
        config: a `TokenTypeConfig`, or the section of a configuration file.
        payload_key: where a sample has its assistant payload: objects or CoordJSON text.
        dataset_keys: where a sample has the label of its dataset; the first that it has counts.
        field_order, ensure_ascii, prefix: see `compute_token_types`.

    Attributes:
        dropped: how many batches of this process lost their types, by reason.

    Raises:
        DeclarationError: the configuration or the tokenizer cannot be used.

    A sample that is excluded, has no payload or supervises nothing is all IGNORE. A sample whose
    labels are not its payload drops the types of its batch. Nothing here ends a run.

    >>> from tokenizers import Tokenizer, models
    >>> tokenizer = Tokenizer(models.WordLevel({'{"objects": []}': 0}, unk_token="?"))
    >>> base = lambda samples: {"labels": [sample["labels"] for sample in samples]}
    >>> collate = TokenTypeCollator(base, tokenizer, {"enabled": True})
    >>> payload = {"objects": []}
    >>> collate([{"labels": [-100, 0], "assistant_payload": payload, "dataset": "lvis"}])
    {'labels': [[-100, 0]], 'pack_num_samples': 1, 'token_types': [[-1, 3]]}
    """

    def __init__(
        self,
        base_collator: Callable[..., Any],
        tokenizer: Any,
        config: TokenTypeConfig | Mapping[str, Any] | None = None,
        *,
        payload_key: str = "assistant_payload",
        dataset_keys: Sequence[str] = DATASET_KEYS,
        field_order: FieldOrder = "as_given",
        ensure_ascii: bool = False,
        prefix: str = "",
    ) -> None:
        if not isinstance(config, TokenTypeConfig):
            config = TokenTypeConfig.from_mapping(config or {})
        self.base_collator = base_collator
        self.config = config
        self.payload_key = payload_key
        self.dataset_keys = tuple(dataset_keys)
        self.options: dict[str, Any] = {
            "field_order": _known_order(field_order),
            "ensure_ascii": ensure_ascii,
            "prefix": prefix,
        }
        self.spelling = Spelling.of(tokenizer) if config.enabled else None
        self.dropped: Counter[str] = Counter()

    def __call__(self, samples: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """The base collator's batch of these samples or packs, with the extras."""
        batch = self.base_collator([self._without_ours(item) for item in samples], *args, **kwargs)
        if not isinstance(batch, MutableMapping):
            return batch
        groups = [[item] if isinstance(item, Mapping) else list(item) for item in samples]
        batch[SAMPLES] = sum(map(len, groups))
        if self.config.enabled:
            batch[TYPES] = self._types(groups, batch.get("labels"))
            if batch[TYPES] is None:
                batch[DROPPED] = 1
        return batch

    def _without_ours(self, item: Any) -> Any:
        if not isinstance(item, Mapping):
            return [self._without_ours(sample) for sample in item]
        ours = {self.payload_key, *self.dataset_keys}
        return {key: value for key, value in item.items() if key not in ours}

    def _types(self, groups: list[list[Sample]], labels: Any) -> Any:
        try:
            return like(labels, self._batch_types(groups, as_integers(labels, "labels")))
        except _DroppedError as why:
            reason, detail = why.args
        except MetricsError as why:
            reason, detail = "unusable", str(why)
        self.dropped[reason] += 1
        log.debug("token types dropped for a batch of %d packs: %s", len(groups), detail)
        return None

    def _batch_types(self, groups: list[list[Sample]], labels: Integers) -> Integers:
        rows = np.atleast_2d(labels)
        if len(rows) == 1:
            groups = [[sample for group in groups for sample in group]]
        if rows.ndim != 2 or len(rows) != len(groups):
            raise _DroppedError("shape", f"labels {labels.shape} for {len(groups)} packs")
        typed = [[self._typed(sample) for sample in group] for group in groups]
        _refuse_other_lengths(typed, rows.shape[1])
        found = [_row_types(row, group) for row, group in zip(rows, typed, strict=True)]
        return np.reshape(np.stack(found), labels.shape) if found else np.zeros_like(labels)

    def _typed(self, sample: Sample) -> _Typed:
        labels = as_integers(sample.get("labels"), "labels").ravel()
        payload = sample.get(self.payload_key)
        if payload is None or not self.config.includes(self._dataset(sample)):
            return _Typed(labels, np.full(labels.shape, IGNORE, np.int64))
        typing = compute_token_types(self.spelling, payload, labels, **self.options)
        if typing.misalignment is not None:
            raise _DroppedError("misaligned", str(typing.misalignment))
        return _Typed(labels, typing.types)

    def _dataset(self, sample: Sample) -> str | None:
        for key in self.dataset_keys:
            if sample.get(key) is not None:
                return str(sample[key])
        log.debug("a sample has no dataset label under %s", safe_text(", ".join(self.dataset_keys)))
        return None


def _known_order(field_order: FieldOrder) -> FieldOrder:
    if field_order not in ORDERS:
        raise DeclarationError(f"field_order {field_order!r} is none of {', '.join(ORDERS)}")
    return field_order


def _refuse_other_lengths(typed: list[list[_Typed]], width: int) -> None:
    """A pack is as long as its samples; only rows beside a longer one are padded."""
    packed = any(len(group) > 1 for group in typed)
    longest = max((sum(len(part.labels) for part in group) for group in typed), default=0)
    if packed and longest != width:
        raise _DroppedError("length", f"{longest} types for {width} labels")


def _row_types(row: Integers, group: list[_Typed]) -> Integers:
    first = np.cumsum([0, *(len(part.labels) for part in group)])[:-1]
    labels, types = joined([p.labels for p in group]), joined([p.types for p in group])
    found = placed(row, labels, types, first)
    if found is None:
        count = int((row != UNSUPERVISED).sum())
        raise _DroppedError("labels", f"{count} supervised labels are not those of the samples")
    return found
