"""A rollout is in all numbers of a group of facts, or in none: so a rate has one population.

What decides is the sample alone, never its neighbours; hence any cut of the samples over
micro-batches, packs and ranks leaves out the same ones. A group is left out where one of its facts
is no value, or two of them contradict each other, or one that the group needs is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .fact_columns import MODE, Facts
from .fact_reading import BUCKETS

__all__ = ["Groups", "Judged"]

SLACK = 5e-7  # of a sum in float32


class Rule(NamedTuple):
    """What two or three facts of one sample must fulfil.

    Attributes:
        group: what is left out where they do not.
        facts: their names; the rule is mute where one is not known.
        broken: a mask over their values.
        statement: the rule in words.
    """

    group: str
    facts: tuple[str, ...]
    broken: Callable[..., Any]
    statement: str


def _at_most(group: str, low: str, high: str) -> Rule:
    return Rule(group, (low, high), lambda a, b: a > b, f"{low} is at most {high}")


def _together(group: str, one: str, other: str, high: str) -> Rule:
    statement = f"{one} + {other} is at most {high}"
    return Rule(group, (one, other, high), lambda a, b, c: a + b > c, statement)


def _within(group: str, total: str, count: str, low: float) -> Rule:
    """A sum over ``count`` numbers of ``low`` to 1."""
    return Rule(
        group,
        (total, count),
        lambda a, n: (a > n * (1 + SLACK)) | (a < n * (low - SLACK)),
        f"{total} is between {low:g} and 1 for each of {count}",
    )


RULES = (
    _at_most("objects", "matched", "gt_objects"),
    _at_most("objects", "matched", "pred_objects"),
    _together("excluded", "matched", "excluded", "gt_objects"),
    _together("excluded", "matched", "excluded", "pred_objects"),
    _at_most("fn_appended", "fn_appended", "gt_objects"),
    _at_most("gate", "gating_rejections", "candidate_pairs"),
    _at_most("maskiou", "maskiou_count", "gt_objects"),
    _at_most("maskiou", "maskiou_count", "pred_objects"),
    _within("maskiou", "maskiou_sum", "maskiou_count", 0.0),
    _at_most("tail", "tail_tokens_ignored", "tail_tokens"),
    _at_most("desc", "desc_pairs", "gt_objects"),
    _at_most("desc", "desc_pairs", "pred_objects"),
    _at_most("desc", "desc_exact", "desc_pairs"),
    _at_most("desc_semantic", "desc_exact", "desc_semantic"),
    _at_most("desc_semantic", "desc_semantic", "desc_pairs"),
    _at_most("desc_sim", "desc_sim_count", "desc_pairs"),
    _within("desc_sim", "desc_sim_sum", "desc_sim_count", -1.0),
    Rule(
        "invalid_rollout",
        ("invalid_rollout", "pred_objects"),
        lambda invalid, objects: (invalid > 0) & (objects > 0),
        "an invalid rollout has no pred_objects",
    ),
)
NEEDED = {
    "gate": ("gating_rejections", "candidate_pairs"),
    "maskiou": ("maskiou_sum", "maskiou_count"),
    "tail": ("tail_tokens", "tail_tokens_ignored"),
    "desc": ("desc_pairs", "desc_exact"),
    "desc_sim": ("desc_sim_sum", "desc_sim_count"),
    "strict": ("pred_objects", "dropped_invalid"),
}
ALONE = (
    "gen_new_tokens",
    "prompt_len",
    "rollout_len",
    "train_len",
    "append_len",
    "encoded_len",
    MODE,
    "truncated",
    "invalid_rollout",
    "closure_dropped",
    "dropped_invalid",
    "dropped_ambiguous",
    "excluded",
    "fn_appended",
    "prefix_coord_targets",
    "desc_semantic",
    *(f"reason/{bucket}" for bucket in BUCKETS),
)
OBJECTS = ("gt_objects", "pred_objects", "matched")
WITH = {
    "dropped_invalid": "objects",
    "dropped_ambiguous": "objects",
    "excluded": "objects",
    "fn_appended": "objects",
    "prefix_coord_targets": "objects",
    "desc_semantic": "desc",
    "desc_sim": "desc",
}


class Judged(NamedTuple):
    """What became of one group of facts, as masks ``[N]``.

    Attributes:
        counted: the samples whose facts count.
        wrong: samples with a fact that is no value, or that breaks a rule.
        missing: samples that know some facts of the group, and not all that it needs.
    """

    counted: Any
    wrong: Any
    missing: Any


class Groups:
    """The groups, and which facts a sample must know to be counted among objects.

    Args:
        required: those facts.
    """

    def __init__(self, required: Iterable[str] = OBJECTS) -> None:
        self.needed = {"objects": tuple(required), **NEEDED, **{name: (name,) for name in ALONE}}
        members = {group: {*names} for group, names in self.needed.items()}
        members["objects"] |= {*OBJECTS}
        self._members = members
        self._rules = [(rule, self._holders(rule)) for rule in RULES]

    def _holders(self, rule: Rule) -> tuple[str, ...]:
        """The groups that a broken rule leaves out: ``strict`` follows ``objects``."""
        return (rule.group, "strict") if rule.group == "objects" else (rule.group,)

    def judge(self, facts: Facts) -> dict[str, Judged]:
        """Every group of which a fact was given, parents first."""
        broken = self.broken(facts)
        judged: dict[str, Judged] = {}
        for group, needed in self.needed.items():
            given = [name for name in self._members[group] if name in facts.columns]
            if given:
                judged[group] = self._judge(facts, group, needed, given, broken, judged)
        return judged

    def broken(self, facts: Facts) -> dict[str, Any]:
        """By group, where one of its rules is broken."""
        found: dict[str, Any] = {}
        for rule, holders in self._rules:
            if all(name in facts.columns for name in rule.facts):
                mask = facts.known(*rule.facts) & rule.broken(*map(facts.value, rule.facts))
                for group in holders:
                    found[group] = found[group] | mask if group in found else mask
        return found

    def _judge(
        self,
        facts: Facts,
        group: str,
        needed: tuple[str, ...],
        given: list[str],
        broken: dict[str, Any],
        judged: dict[str, Judged],
    ) -> Judged:
        wrong = broken.get(group, facts.all_of(False))
        some = facts.all_of(False)
        for name in given:
            wrong = wrong | facts.columns[name].wrong
            some = some | facts.columns[name].known
        whole = facts.known(*needed) & ~wrong
        parent = judged.get(WITH.get(group, ""))
        allowed = facts.all_of(True) if parent is None else parent.counted | ~_touched(parent)
        return Judged(whole & allowed, wrong, some & ~wrong & ~whole)

    def sentences(self, facts: Facts, index: int) -> Iterator[str]:
        """What is wrong with one sample, fact by fact; reads the columns."""
        for name, column in facts.columns.items():
            if column.wrong[index]:
                yield f"{name} is no value of its kind"
        for rule, _ in self._rules:
            if all(
                name in facts.columns and facts.columns[name].known[index] for name in rule.facts
            ):
                values = [facts.value(name)[index] for name in rule.facts]
                if rule.broken(*values):
                    shown = ", ".join(
                        f"{name} = {float(value):g}"
                        for name, value in zip(rule.facts, values, strict=True)
                    )
                    yield f"{rule.statement}, but {shown}"


def _touched(judged: Judged) -> Any:
    return judged.counted | judged.wrong | judged.missing
