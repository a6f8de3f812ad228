"""Each ecosystem spells keys its own way; read back, they have one name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ...contract.catalogue import Catalogue
from ...contract.metric import EVAL_PREFIX, Mode
from ...contract.record import Record

__all__ = ["canonical_name", "canonical_records"]

DASHBOARD = ("eval/", "test/", "test_")
MAX_NAMES = 10_000


def canonical_name(key: str, mode: Mode, catalogue: Catalogue) -> str:
    """The name for the mode; a key that nothing declares only loses a dashboard's evaluation form.

    >>> from coordexp_metrics import CATALOGUE
    >>> canonical_name("eval/rollout/f1", "eval", CATALOGUE)
    'eval_rollout/f1'
    >>> canonical_name("train/train/samples_total", "train", CATALOGUE)
    'train/samples_total'
    """
    found = catalogue.resolve(key)
    if found is None and mode == "eval":
        found = catalogue.resolve(EVAL_PREFIX + key)
    if found is not None and mode in found.metric.modes:
        return found.metric.key_in(mode)
    form = next((form for form in DASHBOARD if key.startswith(form)), None)
    return key if form is None or found is not None else EVAL_PREFIX + key[len(form) :]


def canonical_records(
    records: Iterable[Record], catalogue: Catalogue | None = None
) -> Iterator[Record]:
    """``records`` under canonical names; of two spellings of one metric, one keeps its own."""
    if catalogue is None:
        from ...catalogue import CATALOGUE

        catalogue = CATALOGUE
    names: dict[tuple[Mode, str], str] = {}
    for record in records:
        if len(names) > MAX_NAMES:
            names.clear()
        for key in (*record.metrics, *record.nonfinite):
            if (record.mode, key) not in names:
                names[record.mode, key] = canonical_name(key, record.mode, catalogue)
        yield _renamed(record, names)


def _renamed(record: Record, names: dict[tuple[Mode, str], str]) -> Record:
    spelled = dict.fromkeys((*record.metrics, *record.nonfinite))
    taken: dict[str, str] = {}  # the key that has each canonical name
    for key in spelled:
        wanted = names[record.mode, key]
        if wanted == key or wanted not in spelled:
            taken.setdefault(wanted, key)

    def name(key: str) -> str:
        wanted = names[record.mode, key]
        return wanted if taken.get(wanted) == key else key

    return replace(
        record,
        metrics={name(key): value for key, value in record.metrics.items()},
        nonfinite={name(key): text for key, text in record.nonfinite.items()},
    )
