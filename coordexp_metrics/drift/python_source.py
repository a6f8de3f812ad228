"""Keys in a Python source, read from its syntax tree; nothing of it is imported or run.

Keys are strings and f-strings given to calls that log, the keys of dicts given to them, and what
``monitor``, ``metric_for_best_model`` and a sweep's ``metric: name`` are set to.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from .vocabulary import HOLE

__all__ = ["CALLS", "SETTINGS", "Use", "python_uses"]

CALLS = frozenset(
    {
        *("add_scalar", "add_scalars", "emit", "log", "log_dict", "log_metric", "log_metrics"),
        *("observe", "update"),
    }
)
SETTINGS = frozenset({"metric_for_best_model", "monitor"})
_SECTIONS = ("metrics", "nonfinite")
_HOLDS_METRICS = re.compile(r"(?:^|_)(?:metrics|logs|stats)$")
_PERCENT = re.compile(r"%(?:\([^)]*\))?[-+ #0-9.*]*[a-zA-Z]")
_BRACES = re.compile(r"\{[^{}]*\}")
MAX_DEPTH = 40


class Use(NamedTuple):
    """A key where it stands.

    Attributes:
        key: as spelled; ``HOLE`` for what is put in when it runs.
        line, column: from 1.
        logs: whether the key leaves there; False where it is only observed or looked up.
    """

    key: str
    line: int
    column: int
    logs: bool = True


def python_uses(source: bytes) -> list[Use]:
    """Every key that ``source`` uses, in order.

    Raises:
        SyntaxError: it is no Python, or nests too deep.

    >>> python_uses(b'self.log(f"rollout/{name}", 1.0)')[0].key.split(HOLE)
    ['rollout/', '']
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(f"cannot be parsed: {type(error).__name__}") from error
    nodes = list(ast.walk(tree))
    logged = {name for node in nodes if isinstance(node, ast.Call) for name in _passed(node)}
    lines = source.split(b"\n")
    found = {
        Use(key, node.lineno, _column(lines, node), logs)
        for outer in nodes
        for key, node, logs in _keys_in(outer, logged)
    }
    return sorted(found, key=lambda use: (use.line, use.column, use.key))


def _column(lines: list[bytes], node: ast.expr) -> int:
    line = lines[node.lineno - 1] if node.lineno <= len(lines) else b""
    return len(line[: node.col_offset].decode("utf-8", "replace")) + 1


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _passed(node: ast.Call) -> Iterator[str]:
    """Variables that are handed to a call that logs: their dicts hold metrics."""
    if _called(node) in CALLS:
        yield from (argument.id for argument in node.args if isinstance(argument, ast.Name))


Found = tuple[str, ast.expr, bool]


def _keys_in(node: ast.AST, logged: set[str]) -> Iterator[Found]:
    match node:
        case ast.Call():
            yield from _of_call(node)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _of_assignment(target, value, logged)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield from _of_assignment(target, value, logged)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                yield from _of_setting(key, value)


def _of_call(node: ast.Call) -> Iterator[Found]:
    for keyword in node.keywords:
        if keyword.arg in SETTINGS:
            yield from _key(keyword.value, logs=False)
    name = _called(node)
    if name not in CALLS:
        return
    logs = name != "observe"
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    found = [key for value in values for key in _of_dict(value, logs)]
    if name == "update":
        # Any dict has it: only a dict of metrics, or a key with a prefix, is about metrics.
        yield from (key for key in found if "/" in key[0] or _receives_metrics(node))
        return
    yield from found
    if node.args:
        yield from _key(node.args[0], logs=logs)


def _receives_metrics(node: ast.Call) -> bool:
    match node.func:
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return _HOLDS_METRICS.search(name) is not None
    return False


def _of_assignment(target: ast.expr, value: ast.expr, logged: set[str]) -> Iterator[Found]:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            if name in SETTINGS:
                yield from _key(value, logs=False)
            if name in logged or _HOLDS_METRICS.search(name):
                yield from _of_dict(value, logs=True)
        case ast.Subscript(value=ast.Name(id=name), slice=key):
            if name in logged or _HOLDS_METRICS.search(name):
                yield from _key(key, logs=True)


def _of_setting(key: ast.expr | None, value: ast.expr) -> Iterator[Found]:
    """``{"monitor": key}``, and a sweep's ``{"metric": {"name": key}}``."""
    match key, value:
        case ast.Constant(value=str(name)), _ if name in SETTINGS:
            yield from _key(value, logs=False)
        case ast.Constant(value="metric"), ast.Dict(keys=keys, values=values):
            for inner, said in zip(keys, values, strict=True):
                if isinstance(inner, ast.Constant) and inner.value == "name":
                    yield from _key(said, logs=False)


def _of_dict(node: ast.expr, logs: bool, depth: int = 0) -> Iterator[Found]:
    """The keys of a dict, of both arms of a choice, of both sides of a union."""
    if depth > MAX_DEPTH:
        return
    match node:
        case ast.Dict(keys=keys, values=values):
            yield from _of_literal(keys, values, logs, depth)
        case ast.DictComp(key=ast.expr() as key):
            yield from _key(key, logs=logs)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, op=ast.BitOr(), right=other):
            yield from _of_dict(one, logs, depth + 1)
            yield from _of_dict(other, logs, depth + 1)


def _of_literal(
    keys: list[ast.expr | None], values: list[ast.expr], logs: bool, depth: int
) -> Iterator[Found]:
    """A payload's keys stand in its sections; what else it has is its envelope."""
    named = {k.value: v for k, v in zip(keys, values, strict=True) if isinstance(k, ast.Constant)}
    sections = [named[name] for name in _SECTIONS if isinstance(named.get(name), ast.Dict)]
    for section in sections:
        yield from _of_dict(section, logs, depth + 1)
    for key, value in zip(keys, values, strict=True):
        if key is None:
            yield from _of_dict(value, logs, depth + 1)
        elif not sections:
            yield from _key(key, logs=logs)


def _key(node: ast.expr, *, logs: bool) -> Iterator[Found]:
    text = _text(node)
    if text is not None and text.strip(HOLE):
        yield text, node, logs


def _text(node: ast.expr, depth: int = 0) -> str | None:
    """What a string expression is known to hold, with holes; None for what is no string."""
    if depth > MAX_DEPTH:
        return None
    match node:
        case ast.Constant(value=str(text)):
            return None if HOLE in text else text
        case ast.JoinedStr(values=values):
            return "".join(_text(part, depth + 1) or HOLE for part in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = _text(left, depth + 1), _text(right, depth + 1)
            return None if parts == (None, None) else "".join(part or HOLE for part in parts)
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return _PERCENT.sub(HOLE, text)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return _BRACES.sub(HOLE, text)
    return None
