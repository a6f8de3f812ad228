"""A formula has its parts when its metric is there, and no dashboard folds two metrics in one."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract.catalogue import Catalogue
from ..contract.ecosystems import huggingface_name
from ..contract.formula import Binary, Expression
from ..contract.functions import Apply
from ..contract.metric import Metric
from .documented import DOCUMENTED
from .fault import Fault

__all__ = ["absent_parts", "collisions"]

# What takes absent operands as they are.
TOLERANT = frozenset({"or_zero", "present_sum", "previous"})


def absent_parts(catalogue: Catalogue) -> Iterator[Fault]:
    """Formulas over metrics of other modes, trainers, or conditions."""
    for metric in catalogue.values():
        if metric.formula is None or metric.key in DOCUMENTED["CXM610"]:
            continue
        for part in dict.fromkeys(_needed(metric.formula)):
            for why in _lacks(metric, part):
                yield Fault("CXM610", metric.key, f"{metric.key} needs {part.key}, which {why}")


def _needed(formula: Expression) -> Iterator[Metric]:
    match formula:
        case Metric():
            yield formula
        case Binary(_, left, right):
            yield from _needed(left)
            yield from _needed(right)
        case Apply(name, arguments) if name not in TOLERANT:
            for argument in arguments:
                yield from _needed(argument)


def _lacks(metric: Metric, part: Metric) -> Iterator[str]:
    modes = {*part.modes, *(part.eval_twin.modes if part.eval_twin else ())}
    missing = [mode for mode in metric.modes if mode not in modes]
    if missing:
        yield f"is not logged in {' and '.join(missing)}"
    if metric.when is None and part.when is not None:
        yield f"is there only when {part.when.text}"
    if metric.emitted_by and part.emitted_by and not {*metric.emitted_by} & {*part.emitted_by}:
        yield "is logged by other trainers"


def collisions(catalogue: Catalogue) -> Iterator[Fault]:
    """Two metrics under one name, in each ecosystem's spelling."""
    for ecosystem, spell in ECOSYSTEMS.items():
        owners: dict[str, Metric] = {}
        for metric in catalogue.values():
            for name in {
                spelled for mode in metric.modes for spelled in spell(metric.key_in(mode))
            }:
                other = owners.setdefault(name, metric)
                if not _one_quantity(metric, other):
                    message = f"{ecosystem} would spell {metric.key} and {other.key} alike: {name}"
                    yield Fault("CXM608", metric.key, message)


def _one_quantity(one: Metric, other: Metric) -> bool:
    return one is other or one.eval_twin is other or other.eval_twin is one


def _lightning(name: str) -> tuple[str, ...]:
    """A metric that is logged on steps and epochs gets both names."""
    return name, f"{name}_step", f"{name}_epoch"


def _huggingface(name: str) -> tuple[str, ...]:
    return (huggingface_name(name),)


def _nested(name: str) -> tuple[str, ...]:
    """W&B reads dots as nesting."""
    return (name.replace(".", "/"),)


ECOSYSTEMS = {"Lightning": _lightning, "transformers": _huggingface, "W&B": _nested}
