"""A record ends where its own brace closes, however broken it is inside.

Brackets within strings do not count. A closing brace closes what was left open within it, and a
closing bracket without an opening one is ignored. Where a quote is missing, strings and structure
trade places; a string that is followed by ``desc":`` shows it, and the scan takes up at the next
record. Everything is one pass without recursion: time and memory grow as the text does.
"""

from __future__ import annotations

import re

__all__ = ["BLANK", "WS", "after_gap", "close", "element_end", "prefix_end"]

BLANK = " \t\n\r"
WS = rf"[{BLANK}]*+"
# Possessive, and a string that never closes runs to the end: one pass, whatever the text.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:(")|\\?\Z)'
_LEXEME = re.compile(rf"{_STRING}|\[++|\]++|\{{++|\}}++", re.DOTALL)
_LOOSE = re.compile(rf"{_STRING}|[^\"\[\]{{}},]++", re.DOTALL)
_PREFIX = re.compile(rf'{WS}\{{{WS}"objects"{WS}:{WS}\[')
_GAP = re.compile(rf"[{BLANK},]*+")
_REST_OF_KEY = re.compile(rf'(?:desc|bbox_2d|poly)"{WS}:')


def prefix_end(text: str, stop: int) -> int | None:
    """Where the first record may stand, after ``{"objects": [``; None if it opens otherwise."""
    found = _PREFIX.match(text, 0, stop)
    return found.end() if found else None


def after_gap(text: str, at: int, stop: int) -> int:
    """The next place that holds neither white space nor a comma."""
    found = _GAP.match(text, at, stop)
    return found.end() if found else at


def element_end(text: str, start: int, stop: int) -> int | None:
    """The end of the element of the array that starts here; None if the text ends within it."""
    if text[start] == "{":
        return close(text, start, stop)
    at: int | None = start
    while at is not None and at < stop and text[at] not in "{},]":
        at = close(text, at, stop) if text[at] == "[" else _loose_end(text, at, stop)
    return at if at != stop else None


def _loose_end(text: str, start: int, stop: int) -> int:
    found = _LOOSE.match(text, start, stop)
    end = found.end() if found else stop
    return _torn(text, start, end, stop) or end if text[start] == '"' else end


def close(text: str, start: int, stop: int) -> int | None:
    """The end of what the bracket at ``start`` opens; None if the text ends before.

    >>> close('[{"a": "]"}, 1]}', 0, 16)
    15
    """
    opens = [0]  # for each open brace, and before the first, how many open brackets it holds
    for found in _LEXEME.finditer(text, start, stop):
        at, end = found.span()
        sign, run = text[at], end - at
        if sign == '"':
            ended = _string(text, at, end, stop, closed=found.lastindex is not None)
        elif sign in "]}":
            ended = _closing(opens, sign, at, run)
        else:
            ended = _opening(opens, sign, text, at, run)
        if ended is not None:
            return ended
    return None


def _opening(opens: list[int], sign: str, text: str, at: int, run: int) -> int | None:
    if sign == "[":
        opens[-1] += run
    elif opens == [0, 0] and _follows_comma(text, at):
        return at  # no key opens with a brace: the record before was never closed
    else:
        opens.extend([0] * run)
    return None


def _closing(opens: list[int], sign: str, at: int, run: int) -> int | None:
    if sign == "]":
        if len(opens) == 1 and run >= opens[0]:
            return at + opens[0]
        opens[-1] = max(opens[-1] - run, 0)
        return None
    braces = len(opens) - 1
    if run > braces or (run == braces and not opens[0]):
        return at + braces
    del opens[-run:]
    return None


def _string(text: str, at: int, end: int, stop: int, *, closed: bool) -> int | None:
    return _torn(text, at, end, stop) if closed else _closed_anyway(text, at, stop)


def _torn(text: str, at: int, end: int, stop: int) -> int | None:
    """The end of the record that a string runs out of, into the key of the next one."""
    if not _REST_OF_KEY.match(text, end, stop):
        return None
    inside = text[at + 1 : end - 1].rstrip(BLANK)
    record = inside[:-1].rstrip(BLANK + ",")
    return at + 1 + len(record) if inside.endswith("{") and record.endswith("}") else None


def _closed_anyway(text: str, at: int, stop: int) -> int | None:
    """The end of the last record, where a string that never ends holds the end of them all."""
    rest = text[at:stop].rstrip(BLANK)
    for sign in "}]":
        if not rest.endswith(sign):
            return None
        rest = rest[:-1].rstrip(BLANK)
    return at + len(rest) if rest.endswith("}") else None


def _follows_comma(text: str, at: int) -> bool:
    at -= 1
    while text[at] in BLANK:
        at -= 1
    return text[at] == ","
