"""Functions in formulas: what an absent input means to each is part of its definition."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .formula import Evaluator, Expression
from .metric import Metric

__all__ = ["Apply", "exp", "greatest", "least", "or_zero", "present_sum", "previous"]


@dataclass(frozen=True, eq=False)
class Apply(Expression):
    """A named function of formulas.

    ``exp``; ``or_zero`` (an absent input counts 0); ``present_sum`` (the sum of the inputs that
    are present, absent if none is); ``min`` and ``max``; ``previous`` (the value one step before).
    """

    name: str
    arguments: tuple[Expression, ...]

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        if self.name == "previous":
            (metric,) = self.leaves()
            index = where.get(f"previous({metric.key})")
            return None if index is None else operator.itemgetter(index)
        bound = [part.bind(where, parameters) for part in self.arguments]
        present = [function for function in bound if function is not None]
        if self.name == "or_zero":
            return present[0] if present else lambda _: 0
        if not present or (len(present) < len(bound) and self.name != "present_sum"):
            return None
        return _APPLIED[self.name](present)

    def leaves(self) -> Iterator[Metric]:
        for part in self.arguments:
            yield from part.leaves()

    def parameters(self) -> dict[str, float]:
        return {name: value for part in self.arguments for name, value in part.parameters().items()}

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        return Apply(self.name, tuple(part.replaced(by) for part in self.arguments))

    def to_data(self) -> object:
        return [self.name, *(part.to_data() for part in self.arguments)]

    @property
    def integral(self) -> bool:
        return self.name != "exp" and all(part.integral for part in self.arguments)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


def _exp(functions: list[Evaluator]) -> Evaluator:
    inner = functions[0]
    return lambda values: math.exp(inner(values))


def _sum(functions: list[Evaluator]) -> Evaluator:
    return lambda values: sum([function(values) for function in functions])


def _min(functions: list[Evaluator]) -> Evaluator:
    return lambda values: min([function(values) for function in functions])


def _max(functions: list[Evaluator]) -> Evaluator:
    return lambda values: max([function(values) for function in functions])


_APPLIED: dict[str, Callable[[list[Evaluator]], Evaluator]] = {
    "exp": _exp,
    "present_sum": _sum,
    "min": _min,
    "max": _max,
}


def exp(argument: Expression) -> Apply:
    """e to the power of ``argument``."""
    return Apply("exp", (argument,))


def or_zero(argument: Expression) -> Apply:
    """``argument``, or 0 where it is absent."""
    return Apply("or_zero", (argument,))


def present_sum(*arguments: Expression) -> Apply:
    """The sum of those ``arguments`` that are present; absent if none is."""
    return Apply("present_sum", arguments)


def least(*arguments: Expression) -> Apply:
    """The least of ``arguments``."""
    return Apply("min", arguments)


def greatest(*arguments: Expression) -> Apply:
    """The greatest of ``arguments``."""
    return Apply("max", arguments)


def previous(metric: Metric) -> Apply:
    """The value of ``metric`` in the record before, of the same mode and attempt."""
    return Apply("previous", (metric,))
