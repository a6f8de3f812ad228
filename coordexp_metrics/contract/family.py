"""A family is a class: metrics that share a pattern, a meaning and a page.

    class Matching(Family, pattern="rollout/{name}"):
        '''Absent from steps that generated nothing.'''
        gt_objects_total = total("ground-truth objects", unit=OBJECT)

``Matching.gt_objects_total`` is the metric itself, with its key. A family over forward passes is
called with one: ``CoordDiag(Forward.ROLLOUT).p_gt_mean``. Families describe; nothing is registered
on import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar, Unpack, get_args

from .errors import DeclarationError
from .keys import well_formed
from .kinds import Cumulative, SharedQuantile
from .law import Law
from .metric import Metric, Mode
from .units import Condition

__all__ = ["Family", "FamilyOver", "Shape"]

P = TypeVar("P", bound=StrEnum)


@dataclass(frozen=True)
class Shape:
    """What the lines of a family share, and leave out.

    Attributes:
        pattern: the key, with ``{name}`` and, for a family over passes, ``{provenance}``.
        when: when its keys are present; ``when_over`` says it for single members.
        open_names: whether names beyond the declared ones are taken, such as new drop reasons.
        unprefixed: whether evaluation spells the keys as training does.
        provenance: the forward pass of a family that has only one.
    """

    pattern: str
    modes: tuple[Mode, ...] = ("train", "eval")
    emitted_by: tuple[str, ...] = ()
    when: Condition | None = None
    when_over: Mapping[str, Condition] = field(default_factory=dict)
    source: str = ""
    open_names: bool = False
    unprefixed: bool = False
    provenance: str | None = None

    def bind(self, metric: Metric, name: str, family: str, provenance: str | None) -> Metric:
        """``metric`` under its key, with what its line left out."""
        spelled = metric.name or name
        key = self.pattern.replace("{provenance}", provenance or "").replace("{name}", spelled)
        if not well_formed(key):
            raise DeclarationError(f"{family}.{name}: {key!r} is not a key")
        given: dict[str, object] = {
            "key": key,
            "name": spelled,
            "family": family,
            "provenance": provenance or self.provenance,
            "modes": metric.modes or self.modes,
            "emitted_by": metric.emitted_by or self.emitted_by,
            "when": metric.when or self.when_over.get(provenance or "", self.when),
            "source": metric.source or self.source,
            "unprefixed": metric.unprefixed or self.unprefixed,
        }
        for attribute, value in given.items():
            object.__setattr__(metric, attribute, value)
        return metric


class ShapeWords(TypedDict, total=False):
    """What a family's class statement may say beside its pattern."""

    modes: tuple[Mode, ...]
    emitted_by: tuple[str, ...]
    when: Condition
    when_over: Mapping[str, Condition]
    source: str
    open_names: bool
    unprefixed: bool
    provenance: str


class Family:
    """Metrics that share a pattern, a meaning and a page."""

    __shape__: ClassVar[Shape]
    __lines__: ClassVar[dict[str, Metric]]
    __laws__: ClassVar[tuple[Law, ...]]

    def __init_subclass__(
        cls,
        *,
        pattern: str | None = None,
        **shape: Unpack[ShapeWords],
    ) -> None:
        super().__init_subclass__()
        if pattern is None:
            return
        if "{name}" not in pattern:
            raise DeclarationError(f"{cls.__name__}: the pattern {pattern!r} has no {{name}}")
        cls.__shape__ = Shape(pattern, **shape)
        cls.__lines__ = {n: m for n, m in vars(cls).items() if isinstance(m, Metric)}
        cls.__laws__ = tuple(law for law in vars(cls).values() if isinstance(law, Law))
        cls._bind_lines()

    @classmethod
    def _bind_lines(cls) -> None:
        for name, metric in cls.__lines__.items():
            if metric.key:
                raise DeclarationError(f"{cls.__name__}.{name} is already {metric.key}")
            cls.__shape__.bind(metric, name, cls.__name__, provenance=None)

    @classmethod
    def metrics_and_laws(cls) -> tuple[tuple[Metric, ...], tuple[Law, ...]]:
        """Everything that the family declares, bound, in order of declaration."""
        return tuple(cls.__lines__.values()), cls.__laws__


class FamilyOver(Family, Generic[P]):
    """A family that exists once for each member of an enumeration, mostly of forward passes."""

    __members__: ClassVar[dict[str, Any]]

    provenance: P
    laws: tuple[Law, ...]

    def __new__(cls, provenance: P) -> Self:
        try:
            member: Self = cls.__members__[provenance]
        except KeyError:
            known = ", ".join(cls.__members__)
            raise DeclarationError(f"{cls.__name__} is over {known}, not {provenance!r}") from None
        return member

    @classmethod
    def _bind_lines(cls) -> None:
        if "{provenance}" not in cls.__shape__.pattern:
            raise DeclarationError(f"{cls.__name__}: the pattern has no {{provenance}}")
        (over,) = get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]
        cls.__members__ = {member: cls._member(member) for member in over}

    @classmethod
    def _member(cls, provenance: P) -> Self:
        self = object.__new__(cls)
        self.provenance = provenance
        bound: dict[int, Metric] = {}
        for name, line in cls.__lines__.items():
            copy = replace(line)
            bound[id(line)] = cls.__shape__.bind(copy, name, cls.__name__, str(provenance))
            setattr(self, name, copy)
        _point_inwards(bound)
        self.laws = tuple(law.replaced(bound) for law in cls.__laws__)
        return self

    @classmethod
    def metrics_and_laws(cls) -> tuple[tuple[Metric, ...], tuple[Law, ...]]:
        members = cls.__members__.values()
        metrics = tuple(getattr(member, name) for member in members for name in cls.__lines__)
        return metrics, tuple(law for member in members for law in member.laws)


def _point_inwards(bound: dict[int, Metric]) -> None:
    """Let the formulas of one member mean that member's metrics."""
    for metric in bound.values():
        if metric.formula is not None:
            object.__setattr__(metric, "formula", metric.formula.replaced(bound))
        if isinstance(metric, (SharedQuantile, Cumulative)):
            object.__setattr__(metric, "of", bound.get(id(metric.of), metric.of))
