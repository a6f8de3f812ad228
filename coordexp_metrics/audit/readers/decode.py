"""Bytes become JSON values without a wrong number: what JSON blurs is named and withheld.

The standard decoder takes duplicate keys, ``NaN`` and ``-0`` in silence; its hooks do not. They
cost little: the scanner in C calls them once per object, integer or constant. A hook for floats
would cost a third of the speed, so ``1e999`` is found where rows are sorted: it is the only inf.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ...contract.errors import safe_text
from .limits import Limits
from .quick import UNSURE, quickly
from .source import BOM

__all__ = ["CONSTANTS", "Decoder", "Fault", "Token"]

CONSTANTS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
SPACE = " \t\r"
# An integer that the quick decoder takes has so many digits at most.
WORD_DIGITS = 20
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[{}\[\]]")


class Token(str):
    """A piece of a file that stands where a number should, and is none."""

    __slots__ = ()


class Fault(NamedTuple):
    """What is wrong in a line: its code, the byte of the line, and a sentence."""

    code: str
    at: int
    message: str


class Decoder:
    """Decodes one line after the other; ``faults`` are those of the last one."""

    def __init__(self, limits: Limits) -> None:
        self.faults: list[Fault] = []
        self._limits = limits
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._constant,
            parse_int=self._int,
        )

    def decode(self, raw: bytes) -> list[Any]:
        """The values in ``raw``: one, or none, or all that stand before a fault."""
        self.faults = []
        quick = quickly(raw, self._limits.depth) if self._limits.digits >= WORD_DIGITS else UNSURE
        if quick is not UNSURE:
            return [quick]
        text, skipped = self._text(raw)
        if text is None or self._too_deep(raw):
            return []
        try:
            return self._values(text, skipped)
        except RecursionError:  # a limit of the interpreter below our own
            self._fault("json.depth", "is nested too deeply")
            return []

    def _values(self, text: str, skipped: int) -> list[Any]:
        values: list[Any] = []
        at = 0
        while at < len(text):
            try:
                value, at = self._json.raw_decode(text, at)
            except json.JSONDecodeError as error:
                at = skipped + len(text[: error.pos].encode("utf-8", "surrogatepass"))
                self._fault("json.syntax", f"is no JSON: {error.msg}", at)
                return values
            if values:
                self._fault("json.two_values", "holds more than one JSON value; all are read")
            values.append(value)
            while at < len(text) and text[at] in SPACE:
                at += 1
        return values

    def _text(self, raw: bytes) -> tuple[str | None, int]:
        """``raw`` as text without what surrounds it, and how many bytes stood before."""
        if raw[-1:] == b"\r":
            self._fault("json.crlf", "ends in CR LF")
        if raw.startswith(BOM):
            self._fault("json.bom", "starts with a byte order mark")
        bare = raw.removeprefix(BOM).strip(b" \t\r\x00")
        if b"\x00" in raw:
            self._fault("json.nul", "holds NUL bytes", raw.find(b"\x00"))
        skipped = raw.find(bare) if bare else 0
        try:
            return bare.decode(), skipped
        except UnicodeDecodeError as error:
            self._fault("json.utf8", "is not UTF-8", skipped + error.start)
            return None, 0

    def _too_deep(self, raw: bytes) -> bool:
        cap = self._limits.depth
        if raw.count(b"{") + raw.count(b"[") <= cap:
            return False
        depth = 0
        for found in _BRACKET.finditer(_STRING.sub(b"", raw)):
            depth += 1 if found.group() in b"{[" else -1
            if depth > cap:
                self._fault("json.depth", f"is nested more than {cap} deep")
                return True
        return False

    def _fault(self, code: str, message: str, at: int = 0) -> None:
        if len(self.faults) < self._limits.shown:
            self.faults.append(Fault(code, at, message))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self._withhold_duplicates(found, pairs)
        return found

    def _withhold_duplicates(self, found: dict[str, Any], pairs: list[tuple[str, Any]]) -> None:
        first: dict[str, Any] = {}
        for key, value in pairs:
            if key not in first:
                first[key] = value
                continue
            self._fault("json.duplicate_key", f"has the key {safe_text(key)} twice")
            if first[key] != value:  # which of them is true cannot be known
                found[key] = Token("two values")

    def _constant(self, text: str) -> Token:
        self._fault("json.nan_token", f"holds {text}, which is not JSON; read as non-finite")
        return Token(text)

    def _int(self, text: str) -> float | Token:
        if text == "-0":
            self._fault("json.minus_zero", "holds -0, whose sign an integer loses; read as -0.0")
            return -0.0
        if len(text) > self._limits.digits:
            self._fault("json.overflow", f"holds an integer of {len(text)} digits")
            return Token(f"an integer of {len(text)} digits")
        return int(text)
