"""A metric is one line of the catalogue: a key, what its numbers mean, and where that is said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import ClassVar, Literal, TypeAlias

from .deprecation import Deprecated
from .formula import Evaluator, Expression
from .units import Condition, Unit

__all__ = ["Better", "Bounds", "EVAL_PREFIX", "Metric", "Mode"]

Mode: TypeAlias = Literal["train", "eval"]
Better: TypeAlias = Literal["higher", "lower"]
Bounds: TypeAlias = tuple[float | None, float | None]
EVAL_PREFIX = "eval_"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Metric(Expression):
    """One declared key. In a formula it stands for its value.

    Attributes:
        key: the train name, such as ``coord_diag/B/p_gt_mean``.
        kind: the declaring word: total, mean, rate, ...
        description: what the number means, one sentence.
        unit: what the value is counted in.
        population: what the denominator counts; None where there is none.
        better: which direction is better, None where neither is.
        bounds: least and greatest possible value, None where open.
        in_loss: whether the number takes part in the training loss.
        in_loss_when: the condition on that, empty where there is none.
        modes: the modes in which the key is logged.
        provenance: the forward pass a number came from (A1, A2_coord, B), or None.
        when: when the key is present.
        emitted_by: which trainers log it.
        source: the line of the contract that says so.
        formula: what it is computed from, or checked against.
        aliases: other spellings; ``logged_aliases`` are also written beside the key.
        alias_switch: the key of a flag; where it is 0, logged aliases are not written.
        deprecated: when the key goes and what to use instead, None while it stays.
        eval_twin: the metric that this one becomes in evaluation, if not ``eval_`` + its key.
        declared_at: file and line of the declaration.
    """

    kind: ClassVar[str] = ""

    description: str
    unit: Unit
    population: Unit | None = None
    better: Better | None = None
    bounds: Bounds = (None, None)
    in_loss: bool = False
    in_loss_when: str = ""
    modes: tuple[Mode, ...] = ()
    provenance: str | None = None
    when: Condition | None = None
    emitted_by: tuple[str, ...] = ()
    source: str = ""
    formula: Expression | None = None
    aliases: tuple[str, ...] = ()
    logged_aliases: tuple[str, ...] = ()
    alias_switch: str = ""
    deprecated: Deprecated | None = None
    eval_twin: Metric | None = None
    unprefixed: bool = False
    declared_at: tuple[str, int] = ("", 0)
    key: str = ""
    name: str = ""
    family: str = ""

    @property
    def internal(self) -> bool:
        """Whether the last segment starts with an underscore: such keys never leave."""
        return self.key.rpartition("/")[2].startswith("_")

    @cached_property
    def eval_key(self) -> str:
        """The name in evaluation: the twin's, its own if it is eval-only, or ``eval_`` + key."""
        if self.eval_twin is not None:
            return self.eval_twin.key
        return self.key if self.eval_only or self.unprefixed else EVAL_PREFIX + self.key

    @property
    def eval_only(self) -> bool:
        """Whether the key has no train form, such as ``eval_rollout/mAP``."""
        return self.modes == ("eval",) and self.key.startswith(EVAL_PREFIX)

    def key_in(self, mode: Mode) -> str:
        """The name that sinks see."""
        return self.eval_key if mode == "eval" else self.key

    @property
    def whole(self) -> bool:
        """Whether every value is a whole number."""
        return False

    @property
    def integral(self) -> bool:
        return self.whole

    @cached_property
    def digest(self) -> str:
        """What the numbers mean: 16 hex digits over kind, unit, population and formula."""
        text = json.dumps(self.definition(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def definition(self) -> dict[str, object]:
        """The parts that change the meaning of the numbers."""
        return {
            "kind": self.kind,
            "unit": str(self.unit),
            "population": None if self.population is None else str(self.population),
            "formula": None if self.formula is None else self.formula.to_data(),
            **self.details(),
        }

    def details(self) -> dict[str, object]:
        """What the kind adds to the definition."""
        return {}

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        index = where.get(self.key)
        if index is None and self.eval_twin is not None:
            index = where.get(self.eval_twin.key)
        return None if index is None else itemgetter(index)

    def leaves(self) -> Iterator[Metric]:
        yield self

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        return by.get(id(self), self)

    def to_data(self) -> object:
        return {"metric": self.key}

    def __str__(self) -> str:
        return self.key or self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key or '(unbound)'}>"
