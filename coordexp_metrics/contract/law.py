"""A law relates metrics of one record: an identity, or an inequality that follows from meanings.

Laws of whole numbers are exact; others hold to 1e-5 relative, what a float32 and a log leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from .formula import Expression, Operand, as_expression, run
from .metric import Metric

__all__ = ["Law", "at_most", "identity"]

RELATIVE = 1e-5
ABSOLUTE = 1e-8


@dataclass(frozen=True, eq=False)
class Law:
    """``left == right`` or ``left <= right``, wherever all inputs are present.

    Attributes:
        statement: the law in words.
        weak: True where a violation is a hint, not an error.
    """

    statement: str
    left: Expression
    relation: Literal["==", "<="]
    right: Expression
    weak: bool = False

    @cached_property
    def exact(self) -> bool:
        """Whether both sides are whole numbers, so that nothing is forgiven."""
        return self.left.integral and self.right.integral

    def holds(self, left: float, right: float) -> bool:
        """Whether the two sides satisfy the law.

        >>> from coordexp_metrics.contract.formula import Constant
        >>> identity("halves", Constant(1) / 2, Constant(0.5)).holds(0.5, 0.5000001)
        True
        """
        forgiven = 0 if self.exact else ABSOLUTE + RELATIVE * max(abs(left), abs(right))
        return left <= right + forgiven if self.relation == "<=" else abs(left - right) <= forgiven

    def check(
        self, values: Mapping[str, float], parameters: Mapping[str, float] | None = None
    ) -> tuple[float, float] | None:
        """Both sides where the law is broken over ``values``; None where it holds or is mute.

        A law over parameters is mute until they are given.
        """
        where = {key: index for index, key in enumerate(values)}
        sides = [side.bind(where, parameters) for side in (self.left, self.right)]
        row = list(values.values())
        left, right = (None if side is None else run(side, row) for side in sides)
        if left is None or right is None or self.holds(left, right):
            return None
        return left, right

    def replaced(self, by: Mapping[int, Metric]) -> Law:
        """The same law over other metrics."""
        return replace(self, left=self.left.replaced(by), right=self.right.replaced(by))

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


def identity(statement: str, left: Operand, right: Operand, *, weak: bool = False) -> Law:
    """``left`` equals ``right``."""
    return Law(statement, as_expression(left), "==", as_expression(right), weak)


def at_most(statement: str, left: Operand, right: Operand, *, weak: bool = False) -> Law:
    """``left`` is at most ``right``."""
    return Law(statement, as_expression(left), "<=", as_expression(right), weak)
