"""What the catalogue says by wildcard, as regular expressions that every JSON Schema reads alike.

A train name and its ``eval_`` form are one key: each expression takes both, as look-up does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..contract.metric import EVAL_PREFIX, Mode

__all__ = ["INTERNAL", "declared_apart", "either_form", "open_names", "suppressed"]

INTERNAL = r"(?:^|/)_[^/]*$"
_EITHER = r"(?:eval_|(?!eval_))"


def _escaped(text: str) -> str:
    return re.sub(r"[\\^$.|?*+()\[\]{}]", r"\\\g<0>", text)


def _wild(pattern: str) -> str:
    return ".+".join(map(_escaped, pattern.split("*")))


def either_form(pattern: str) -> str:
    """Keys like ``pattern``, with ``eval_`` before them or without.

    >>> either_form("loss/*_obj")
    '^(?:eval_|(?!eval_))loss/.+_obj$'
    """
    return f"^{_EITHER}{_wild(pattern)}$"


def open_names(pattern: str) -> str:
    """Keys of a family that takes further names."""
    parts = re.split(r"\{(name|provenance)\}", pattern)
    holes = {"name": "[A-Za-z0-9][^/]*", "provenance": "[^/]+"}
    shape = "".join(holes[part] if at % 2 else _escaped(part) for at, part in enumerate(parts))
    return f"^{_EITHER}{shape}$"


def suppressed(pattern: str, mode: Mode) -> str:
    """Keys whose name in ``mode`` is like ``pattern``.

    >>> suppressed("eval_rollout/bbox_*", "eval")
    '^(?:eval_|(?!eval_))rollout/bbox_.+$'
    """
    if mode == "train":
        return f"^{_wild(pattern)}$"
    if pattern.startswith(EVAL_PREFIX):
        return f"^{_EITHER}{_wild(pattern.removeprefix(EVAL_PREFIX))}$"
    literal, star, rest = pattern.partition("*")
    spelled = f"(?=eval_){_wild(pattern)}"
    if not star or not EVAL_PREFIX.startswith(literal):
        return f"^{spelled}$"
    return f"^(?:{spelled}|(?!eval_).*{_wild(rest)})$"


def declared_apart(expression: str, names: Iterable[str]) -> str:
    """``expression`` without those ``names`` that are declared, and so mean something else."""
    declared = [name for name in names if re.search(expression, name)]
    if not declared:
        return expression
    return f"^(?!(?:{'|'.join(map(_escaped, sorted(declared)))})$){expression.removeprefix('^')}"
