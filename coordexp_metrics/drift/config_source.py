"""Keys in a configuration, read from its text: nothing of it is constructed.

No YAML is loaded, so there is no tag to obey, no alias to expand and no nesting to exhaust; what a
line scanner does not understand is no key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .python_source import Use

__all__ = ["config_uses"]

MAX_LINE = 4096
_NAME = r"""["']?(?:[A-Za-z0-9_]+\.){0,8}"""
_VALUE = r"""(?:"([^"\\]*)"|'([^']*)'|([A-Za-z0-9_][^\s,}\]#"'&*!|>%@`{\[]*))"""
_SETTING = re.compile(
    rf"""(?<![\w.-]){_NAME}(?:metric_for_best_model|monitor)["']?[ \t]*[:=][ \t]*{_VALUE}"""
)
_SWEEP = re.compile(
    rf"""(?<![\w.-])["']?metric["']?[ \t]*[:=][ \t]*\{{[^{{}}\n]*?(?<![\w.-])["']?name["']?"""
    rf"""[ \t]*[:=][ \t]*{_VALUE}"""
)
_DOTTED = re.compile(rf"(?<![\w.-])metric\.name[ \t]*[:=][ \t]*{_VALUE}")
_OPENS = re.compile(
    r"""^([ \t]*)(?:-[ \t]+)?["']?metric["']?[ \t]*[:=][ \t]*\{?[ \t]*(?:#.*)?$"""
    r"""|^\[(?:[\w.]+\.)?metric\]"""
)
_NAMES = re.compile(rf"""^([ \t]*)["']?name["']?[ \t]*[:=][ \t]*{_VALUE}""")
_BLOCK = re.compile(r"^([ \t]*)[^#\n]*[:=-][ \t]+[|>][-+0-9]{0,2}[ \t]*(?:#.*)?$")


def config_uses(text: str) -> list[Use]:
    """Every key that a YAML, JSON or TOML ``text`` names as the metric to watch.

    >>> config_uses("training:\\n  metric_for_best_model: rollout/f1  # best\\n")
    [Use(key='rollout/f1', line=2, column=26, logs=False)]
    """
    found: dict[Use, None] = {}
    for number, line in _lines(text):
        for pattern in (_SETTING, _SWEEP, _DOTTED):
            for match in pattern.finditer(line):
                found.update(dict.fromkeys(_use(match, number, 0)))
    for number, match in _sweep_names(text):
        found.update(dict.fromkeys(_use(match, number, 1)))
    return sorted(found, key=lambda use: (use.line, use.column))


def _use(match: re.Match[str], line: int, before: int) -> Iterator[Use]:
    for group in range(before + 1, before + 4):
        if match.group(group):
            yield Use(match.group(group), line, match.start(group) + 1, logs=False)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are no comment and stand in no block of running text."""
    inside = -1
    for number, line in enumerate(text.split("\n"), 1):
        indent = len(line) - len(line.lstrip())
        if inside >= 0 and (not line.strip() or indent > inside):
            continue
        inside = -1
        if len(line) > MAX_LINE or line.lstrip().startswith(("#", "//")):
            continue
        yield number, line
        block = _BLOCK.match(line)
        if block is not None:
            inside = len(block.group(1))


def _sweep_names(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """``name`` under ``metric:``, deeper than it; or in the table ``[metric]``."""
    within: int | None = None
    for number, line in _lines(text):
        if not line.strip():
            continue
        opens = _OPENS.match(line)
        if opens is not None:
            within = -1 if opens.group(1) is None else len(opens.group(1))
            continue
        indent = len(line) - len(line.lstrip())
        if within is not None and (indent <= within or line.startswith("[")):
            within = None
        match = _NAMES.match(line) if within is not None else None
        if match is not None:
            yield number, match
