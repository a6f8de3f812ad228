"""Decoded values become records: journals, payloads, and what trainers write.

Nothing is invented. A row whose step cannot be told is a problem, not a record of step 0.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...contract.errors import safe_text
from ...contract.header import FORMAT_VERSION
from ...contract.metric import Mode
from ...contract.payload import MAX_STEP, open_envelope
from ...contract.record import Record
from .decode import CONSTANTS, Token
from .limits import Limits
from .modes import STEP_KEYS, Modes, modes_of
from .quick import NUMBERS

__all__ = ["NewerFormat", "Rows"]

# A last row about the whole run, without a step of its own.
END_OF_RUN = ("train_runtime", "train_samples_per_second")
# An object about the whole run that holds no metrics.
SUMMARY = ("last_model_checkpoint", "best_model_checkpoint")
LARGEST = sys.float_info.max
MAX_TEXT = 200
MAX_SHAPES = 64
_PROGRESS = re.compile(r"\s*([0-9]{1,19})\s*(?:/\s*[0-9]+\s*)?", re.ASCII)

Say = Callable[[str, str], None]


class NewerFormat(Exception):  # noqa: N818
    """The file was written by a newer major version; nothing of it can be trusted."""


class Rows:
    """Reads the rows of one file.

    Args:
        path: the file, for the records' origin.
        limits: caps.
        say: takes the code and the message of a problem in the row at hand.
    """

    def __init__(self, path: str, limits: Limits, say: Say) -> None:
        self.path = path
        self.headers: list[Mapping[str, Any]] = []
        self.summaries: list[Mapping[str, Any]] = []
        self._limits = limits
        self._say = say
        self._last_step: int | None = None
        self._line = 0
        self._known_modes: dict[tuple[str, ...], Modes] = {}
        self._known_texts: dict[tuple[str, ...], tuple[str, ...]] = {}

    def records(self, value: object, line: int) -> Iterator[Record]:
        """The records in one decoded value: none, one, or two where a row mixes modes.

        Raises:
            NewerFormat: a header says so.
        """
        self._line = line
        if type(value) is not dict:
            self._say("line.not_object", f"is {_kind(value)}, not an object")
        elif type(value.get("header")) is dict and "metrics" not in value:
            self._header(value["header"])
        elif type(value.get("footer")) is dict and "metrics" not in value:
            self.summaries.append(value)
        elif "schema_version" in value or type(value.get("metrics")) is dict:
            yield from self._payload(value)
        elif "log_history" in value or any(key in value for key in SUMMARY):
            yield from self._state(value)
        else:
            yield from self._trainer_row(value)

    def _header(self, header: Mapping[str, Any]) -> None:
        written = header.get("format")
        if type(written) is not int or written < 1:
            self._say("header.format", f"has a header of format {safe_text(written)}")
        elif written > FORMAT_VERSION:
            package = safe_text(header.get("package"))
            needed = f"needs coordexp-metrics >= {package}; this one reads format {FORMAT_VERSION}"
            self._say("file.newer", f"is a log of format {written}: it {needed}")
            raise NewerFormat
        self.headers.append(header)

    def _payload(self, value: dict[str, Any]) -> Iterator[Record]:
        payload, problems = open_envelope(value)
        for problem in problems:
            self._say(problem.code, str(problem))
        if payload is None:
            return
        extra = dict(payload.extra)
        metrics, nonfinite, skipped = self._sorted(payload.metrics)
        seq, health = extra.pop("seq", None), extra.pop("health", {})
        self._last_step = payload.global_step
        yield Record(
            mode=payload.mode,
            global_step=payload.global_step,
            metrics=metrics,
            nonfinite={**nonfinite, **payload.nonfinite},
            seq=seq if type(seq) is int else None,
            time=_seconds(extra.pop("time", None)),
            monotonic=_seconds(extra.pop("monotonic", None)),
            dataset=payload.dataset,
            coverage=payload.coverage,
            health=self._sorted(health)[0] if type(health) is dict else {},
            extra=extra,
            skipped=skipped,
            origin=(self.path, self._line),
        )

    def _state(self, value: dict[str, Any]) -> Iterator[Record]:
        """``trainer_state.json`` on one line, or the object at the end of ms-swift's log.

        The latter repeats rows that were read already.
        """
        rows = value.get("log_history", [])
        self.summaries.append({key: part for key, part in value.items() if key != "log_history"})
        if type(rows) is not list:
            self._say("trainer.log_history", f"has a log_history that is {_kind(rows)}")
        elif self._last_step is None:
            for row in rows:
                if type(row) is dict:
                    yield from self._trainer_row(row)
                else:
                    self._say("line.not_object", f"has {_kind(row)} in its log_history")

    def _trainer_row(self, row: dict[str, Any]) -> Iterator[Record]:
        if len(row) > self._limits.keys:
            self._say("metrics.too_many", f"holds {len(row)} keys; the cap is {self._limits.keys}")
            return
        step = self._step(row)
        if step is None:
            self._say("step_unresolved", f"has no step: none of {', '.join(STEP_KEYS)} tells it")
            return
        self._last_step = step
        for mode, keys in self._modes(row):
            yield self._record(mode, step, row if keys is None else {k: row[k] for k in keys})

    def _modes(self, row: Mapping[str, Any]) -> Modes:
        """The modes in ``row``, with their keys where there are two; remembered by its keys."""
        keys = tuple(row)
        found = self._known_modes.get(keys)
        if found is None:
            if len(self._known_modes) >= MAX_SHAPES:
                self._known_modes.clear()
            found = self._known_modes[keys] = modes_of(keys)
        return found

    def _record(self, mode: Mode, step: int, row: Mapping[str, Any]) -> Record:
        metrics, nonfinite, skipped = self._sorted(row)
        for key in ("step", "global_step"):
            metrics.pop(key, None)
        return Record(
            mode, step, metrics, nonfinite, skipped=skipped, origin=(self.path, self._line)
        )

    def _step(self, row: Mapping[str, Any]) -> int | None:
        for key in STEP_KEYS:
            if key in row:
                step = _whole(row[key])
                if step is not None and 0 <= step <= MAX_STEP:
                    return step
        ends = any(key in row for key in END_OF_RUN)
        return self._last_step if ends else None

    def _sorted(
        self, row: Mapping[str, Any]
    ) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
        """Finite numbers, non-finite ones by name, and everything else as JSON text."""
        keys = tuple(row)
        metrics = dict(row)
        others = self._known_texts.get(keys, ())
        for key in others:
            del metrics[key]
        if not _finite(metrics):
            metrics = {key: value for key, value in row.items() if _is_finite(value)}
            others = tuple(key for key in keys if key not in metrics)
            if len(self._known_texts) >= MAX_SHAPES:
                self._known_texts.clear()
            self._known_texts[keys] = others
        nonfinite: dict[str, str] = {}
        skipped: dict[str, str] = {}
        for key in others:
            value = row[key]
            if _is_finite(value):
                metrics[key] = value
            elif type(value) is Token and value in CONSTANTS:
                nonfinite[key] = CONSTANTS[value]
            else:
                skipped[key] = self._no_number(key, value)
        return metrics, nonfinite, skipped

    def _no_number(self, key: str, value: object) -> str:
        if type(value) in {int, float}:
            self._say("json.overflow", f"has {safe_text(key)} beyond the range of a float")
            return "beyond the range of a float"
        if type(value) is Token:
            return str(value)
        text = json.dumps(value)
        return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _whole(value: object) -> int | None:
    """A step as trainers spell it: ``7``, ``7.0``, ``"7"`` or ``"7/100"``."""
    if type(value) is int:
        return value
    if type(value) is float:
        return int(value) if value.is_integer() else None
    found = _PROGRESS.fullmatch(value) if type(value) is str else None
    return int(found.group(1)) if found else None


def _seconds(value: Any) -> float | None:
    return float(value) if type(value) in {int, float} and abs(value) < LARGEST else None


def _finite(row: Mapping[str, Any]) -> bool:
    """Whether all values are finite numbers, decided by loops in C."""
    values = row.values()
    if not values:
        return True
    return set(map(type, values)) <= NUMBERS and (
        min(values) >= -LARGEST and max(values) <= LARGEST
    )


def _is_finite(value: object) -> bool:
    return (type(value) is float or type(value) is int) and -LARGEST <= value <= LARGEST


def _kind(value: object) -> str:
    names = {
        list: "an array",
        str: "a string",
        bool: "a bool",
        type(None): "null",
        dict: "an object",
    }
    return names.get(type(value), "a number")
