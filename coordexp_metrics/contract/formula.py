"""A formula is declared once: it evaluates, checks and prints itself.

Metrics are leaves; Python's operators build the tree. A formula is absent where one of its inputs
is absent or a denominator is zero, so 0/0 never becomes a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

if TYPE_CHECKING:
    from .metric import Metric

__all__ = [
    "Binary",
    "Constant",
    "Evaluator",
    "Expression",
    "Parameter",
    "as_expression",
    "parameter",
    "run",
]

Values: TypeAlias = Sequence[float]
Evaluator: TypeAlias = Callable[[Values], float]
Operand: TypeAlias = Union["Expression", float, int]

_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
_ATOM = 3


class Expression:
    """Anything that a formula can hold. Operators make bigger ones."""

    def __add__(self, other: Operand) -> Binary:
        return Binary("+", self, as_expression(other))

    def __radd__(self, other: Operand) -> Binary:
        return Binary("+", as_expression(other), self)

    def __sub__(self, other: Operand) -> Binary:
        return Binary("-", self, as_expression(other))

    def __rsub__(self, other: Operand) -> Binary:
        return Binary("-", as_expression(other), self)

    def __mul__(self, other: Operand) -> Binary:
        return Binary("*", self, as_expression(other))

    def __rmul__(self, other: Operand) -> Binary:
        return Binary("*", as_expression(other), self)

    def __truediv__(self, other: Operand) -> Binary:
        return Binary("/", self, as_expression(other))

    def __rtruediv__(self, other: Operand) -> Binary:
        return Binary("/", as_expression(other), self)

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        """A function of the values standing at ``where``, or None if an input is absent.

        Presence depends on the keys alone, so a caller binds once per set of keys.
        """
        raise NotImplementedError

    def leaves(self) -> Iterator[Metric]:
        """Every metric in the formula, left to right."""
        raise NotImplementedError

    def parameters(self) -> dict[str, float]:
        """Name and default of every parameter."""
        return {}

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        """The same formula over other metrics; ``by`` maps ``id(metric)``."""
        raise NotImplementedError

    def to_data(self) -> object:
        """The formula as JSON data, readable from any language."""
        raise NotImplementedError

    @property
    def integral(self) -> bool:
        """True where whole inputs give a whole result, so that a check can be exact."""
        return False

    @property
    def precedence(self) -> int:
        """How tightly the printed form binds."""
        return _ATOM

    def evaluate(
        self, values: Mapping[str, float], parameters: Mapping[str, float] | None = None
    ) -> float | None:
        """The value of the formula over a payload's metrics, or None where it is absent.

        Parameters that are not given take their defaults.
        """
        where = {key: index for index, key in enumerate(values)}
        bound = self.bind(where, {**self.parameters(), **(parameters or {})})
        return None if bound is None else run(bound, list(values.values()))


def run(bound: Evaluator, values: Values) -> float | None:
    """``bound(values)``, absent where a denominator is zero or a power overflows."""
    try:
        return bound(values)
    except (ZeroDivisionError, OverflowError):
        return None


def as_expression(operand: Operand) -> Expression:
    """``operand``, or the constant that it is."""
    return operand if isinstance(operand, Expression) else Constant(operand)


@dataclass(frozen=True, eq=False)
class Constant(Expression):
    """A number."""

    value: float

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        value = self.value
        return lambda _: value

    def leaves(self) -> Iterator[Metric]:
        return iter(())

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        return self

    def to_data(self) -> object:
        return self.value

    @property
    def integral(self) -> bool:
        return isinstance(self.value, int)

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, eq=False)
class Parameter(Expression):
    """A number that a run's configuration knows, such as the weight of a loss term."""

    name: str
    default: float

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        value = (parameters or {}).get(self.name)
        return None if value is None else lambda _: value

    def leaves(self) -> Iterator[Metric]:
        return iter(())

    def parameters(self) -> dict[str, float]:
        return {self.name: self.default}

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        return self

    def to_data(self) -> object:
        return {"parameter": self.name, "default": self.default}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Binary(Expression):
    """Two formulas under an operator."""

    symbol: str
    left: Expression
    right: Expression

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        left, right = self.left.bind(where, parameters), self.right.bind(where, parameters)
        if left is None or right is None:
            return None
        apply = _OPERATORS[self.symbol]
        return lambda values: apply(left(values), right(values))

    def leaves(self) -> Iterator[Metric]:
        yield from self.left.leaves()
        yield from self.right.leaves()

    def parameters(self) -> dict[str, float]:
        return {**self.left.parameters(), **self.right.parameters()}

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        return Binary(self.symbol, self.left.replaced(by), self.right.replaced(by))

    def to_data(self) -> object:
        return [self.symbol, self.left.to_data(), self.right.to_data()]

    @property
    def integral(self) -> bool:
        return self.symbol != "/" and self.left.integral and self.right.integral

    @property
    def precedence(self) -> int:
        return _PRECEDENCE[self.symbol]

    def __str__(self) -> str:
        left = _wrapped(self.left, self.precedence)
        tighter = self.precedence + (self.symbol in {"-", "/"})
        return f"{left} {self.symbol} {_wrapped(self.right, tighter)}"


def _wrapped(part: Expression, at_least: int) -> str:
    return str(part) if part.precedence >= at_least else f"({part})"


def parameter(name: str, default: float = 1.0) -> Parameter:
    """A number from the run's configuration."""
    return Parameter(name, default)
