"""No two metrics may meet under one name, in any mode or ecosystem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .errors import DeclarationError
from .metric import Metric

__all__ = ["refuse_collisions"]


def refuse_collisions(metrics: Sequence[Metric]) -> None:
    """Raise where two metrics share a name, or fold into one in a dashboard or a file system.

    Raises:
        DeclarationError: names both metrics and where they are declared.
    """
    owners: dict[str, Metric] = {}
    for metric in metrics:
        for name in _names(metric):
            other = owners.setdefault(_folded(name), metric)
            if other is not metric:
                raise DeclarationError(
                    f"{name!r} would stand for {_where(other)} and for {_where(metric)}"
                )
    _refuse_dashboard_collisions(owners)


def _names(metric: Metric) -> Iterator[str]:
    yield metric.key
    if metric.eval_twin is None and metric.eval_key != metric.key:
        yield metric.eval_key
    for alias in (*metric.aliases, *metric.logged_aliases):
        yield alias
        yield f"eval_{alias}"


def _folded(name: str) -> str:
    return name.casefold().replace(".", "/")


def _refuse_dashboard_collisions(owners: dict[str, Metric]) -> None:
    """``train/`` and ``eval/`` are put before keys by trainers' callbacks."""
    for name, metric in owners.items():
        prefix, slash, rest = name.partition("/")
        if not slash or prefix not in {"train", "eval"}:
            continue
        other = owners.get(rest if prefix == "train" else f"eval_{rest}")
        if other is not None and other is not metric:
            raise DeclarationError(
                f"a trainer that writes {prefix}/ before keys would spell {_where(other)} "
                f"like {_where(metric)}"
            )


def _where(metric: Metric) -> str:
    path, line = metric.declared_at
    return f"{metric.key} ({path}:{line})" if path else metric.key
