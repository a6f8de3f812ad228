"""Metrics of a JSON catalogue point at each other by key; linking makes them point for real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ..catalogue import Catalogue
from ..errors import DeclarationError, safe_text
from ..formula import Binary, Constant, Expression, Parameter
from ..functions import Apply
from ..keys import near
from ..kinds import Quantile, Rate, SharedQuantile, Total
from ..law import Law
from ..metric import Metric

__all__ = ["Linker", "wrong"]

MAX_DERIVATION = 32


def wrong(path: str, why: str) -> NoReturn:
    """Refuse what stands at ``path``."""
    raise DeclarationError(f"{path or 'the file'} {why}")


class Linker:
    """All metrics of a file by key, each with its data and its place."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self._data: dict[str, tuple[dict[str, Any], str]] = {}

    def add(self, metric: Metric, data: dict[str, Any], path: str) -> None:
        """Take ``metric``; no key is declared twice."""
        if metric.key in self.metrics:
            wrong(f"{path}.key", f"declares {metric.key!r} again: see {self._data[metric.key][1]}")
        self.metrics[metric.key] = metric
        self._data[metric.key] = data, path

    def link(self) -> None:
        """Let every metric point at the metrics that its data names."""
        for key, metric in self.metrics.items():
            data, path = self._data[key]
            if "of" in data:
                self._set(metric, "of", self._target(metric, data["of"], f"{path}.of"))
            if "eval_twin" in data:
                twin = self._find(data["eval_twin"], f"{path}.eval_twin")
                self._set(metric, "eval_twin", twin)
            if "formula" in data:
                tree = self._formula(data["formula"]["tree"], f"{path}.formula.tree")
                self._set(metric, "formula", tree)
                if isinstance(metric, Rate):
                    self._check_rate(metric, path)

    def _set(self, metric: Metric, name: str, value: object) -> None:
        object.__setattr__(metric, name, value)

    def _find(self, key: str, path: str) -> Metric:
        found = self.metrics.get(key)
        if found is None:
            hint = "".join(f"; did you mean {like!r}?" for like in near(key, self.metrics, 1))
            wrong(path, f"means {safe_text(key)}, which this file does not declare{hint}")
        return found

    def _target(self, metric: Metric, key: str, path: str) -> Metric:
        found = self._find(key, path)
        needed = Quantile if isinstance(metric, SharedQuantile) else Total
        if not isinstance(found, needed):
            wrong(path, f"must be a {needed.kind}, and {key} is a {found.kind}")
        return found

    def _check_rate(self, metric: Rate, path: str) -> None:
        match metric.formula:
            case Binary("/", Total(), Total() as denominator):
                if metric.population is None:
                    self._set(metric, "population", denominator.unit)
            case _:
                wrong(f"{path}.formula.tree", "is no rate: it must divide a total by a total")

    def _formula(self, tree: Any, path: str) -> Expression:
        if isinstance(tree, dict):
            if "metric" in tree:
                return self._find(tree["metric"], path)
            return Parameter(tree["parameter"], tree["default"])
        if not isinstance(tree, list):
            return Constant(tree)
        name, *operands = tree
        parts = [self._formula(part, f"{path}[{at}]") for at, part in enumerate(operands, 1)]
        if name in {"+", "-", "*", "/"}:
            return Binary(name, *parts)
        if name == "previous" and not isinstance(parts[0], Metric):
            wrong(path, "asks for the value before of something that is no metric")
        return Apply(name, tuple(parts))

    def laws(self, entries: Iterable[Mapping[str, Any]], path: str) -> tuple[Law, ...]:
        """The laws at ``path``."""
        return tuple(self._law(entry, f"{path}[{at}]") for at, entry in enumerate(entries))

    def _law(self, entry: Mapping[str, Any], path: str) -> Law:
        left = self._formula(entry["left"], f"{path}.left")
        right = self._formula(entry["right"], f"{path}.right")
        if not {*left.leaves(), *right.leaves()}:
            wrong(path, "is about no metric")
        law = Law(entry["statement"], left, entry["relation"], right, entry.get("weak", False))
        _same(path, "text", entry, str(law))
        return law

    def confirm(self, catalogue: Catalogue, digest: str | None) -> None:
        """Refuse formulas in a circle, and derived facts that contradict the declarations."""
        self._refuse_long_derivations(catalogue)
        for key, metric in self.metrics.items():
            data, path = self._data[key]
            for name in ("eval_key", "internal", "digest"):
                _same(path, name, data, getattr(metric, name))
            if metric.formula is not None:
                _same(f"{path}.formula", "text", data["formula"], str(metric.formula))
        _same("", "digest", {} if digest is None else {"digest": digest}, catalogue.digest)

    def _refuse_long_derivations(self, catalogue: Catalogue) -> None:
        depths: dict[str, int] = {}
        for metric in catalogue.computed:
            depth = 1 + max(
                (depths.get(leaf.key, 0) for leaf in metric.formula.leaves()), default=0
            )
            depths[metric.key] = depth
            if depth > MAX_DERIVATION:
                path = self._data[metric.key][1]
                wrong(path, f"stands on more than {MAX_DERIVATION} formulas, one over the other")


def _same(path: str, name: str, data: Mapping[str, Any], follows: object) -> None:
    if name in data and data[name] != follows:
        where = f"{path}.{name}" if path else name
        wrong(
            where,
            f"says {safe_text(data[name])}, but {safe_text(follows)} follows from the rest: "
            "leave it out, or write the file anew",
        )
