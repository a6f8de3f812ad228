"""The history of an offline W&B run, row by row; its configuration and console stay unread."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .decode import CONSTANTS, Decoder, Fault, Token
from .limits import Limits
from .modes import STEP_KEYS
from .problems import Say
from .protobuf import BadMessageError, Value, bytes_of, double_of, fields, signed, texts, zigzag
from .sampled import Sample
from .wandb_log import Messages

__all__ = ["samples_of_wandb"]

HISTORY, ITEM, KEY, NESTED, JSON = 2, 1, 1, 2, 16
# Where an item's value is no JSON text but a field of its own type.
TYPED: dict[int, Callable[[Value], Any]] = {
    3: lambda _: None,
    4: lambda value: bool(signed(value)),
    5: zigzag,
    6: double_of,
    7: texts,
    8: lambda _: Token("JSON"),
}
# A W&B step is no optimizer step, so it is the last that is asked.
STEPS = (*STEP_KEYS, "train/global_step", "trainer/global_step", "_step")
OWN = frozenset({"_step", "_timestamp", "_runtime", "_wandb"})
NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
LARGEST = sys.float_info.max
MAX_TEXT = 200


def samples_of_wandb(messages: Messages, limits: Limits, say: Say) -> Iterator[Sample]:
    """The rows of the history, each at its optimizer step."""
    decoder = Decoder(limits)
    for number, offset, message in messages:
        try:
            row = _history(message, decoder)
        except BadMessageError as error:
            say("record.proto", f"is no record of W&B: {error}", offset, number)
            continue
        for fault in decoder.faults:
            say(fault.code, fault.message, offset, number)
        if row is None:
            continue
        if len(row) > limits.keys:
            why = f"holds {len(row)} keys; the cap is {limits.keys}"
            say("metrics.too_many", why, offset, number)
            continue
        sample = _sample(row, number)
        if sample is None:
            say("step_unresolved", "has no step", offset, number)
        else:
            yield sample


def _history(message: bytes, decoder: Decoder) -> dict[str, Any] | None:
    """The row in a message, None where it is about something else."""
    row: dict[str, Any] | None = None
    faults: list[Fault] = []
    for number, value in fields(message):
        if number == HISTORY:
            row = {}
            for inner, item in fields(bytes_of(value)):
                if inner == ITEM:
                    key, found = _item(bytes_of(item), decoder)
                    faults += decoder.faults
                    row[key] = found
    decoder.faults = faults
    return row


def _item(data: bytes, decoder: Decoder) -> tuple[str, Any]:
    names: list[str] = []
    found: Any = None
    decoder.faults = []
    for number, value in fields(data):
        if number in {KEY, NESTED}:
            names.append(texts(value))
        elif number == JSON:
            values = decoder.decode(bytes_of(value))
            decoder.faults = [f for f in decoder.faults if f.code != "json.nan_token"]
            found = values[0] if values else Token("no JSON")
        elif number in TYPED:
            found = TYPED[number](value)
    return ".".join(names), found


def _sample(row: dict[str, Any], number: int) -> Sample | None:
    step = next((step for name in STEPS if (step := _whole(row.get(name))) is not None), None)
    if step is None:
        return None
    time = _number(row.get("_timestamp"))
    sample = Sample(step, time if time is not None and math.isfinite(time) else None, number)
    for key, value in sorted(row.items()):  # W&B keeps no order, and one order is one plan
        if key in OWN or key in STEPS:
            continue
        found = _number(value)
        if found is None:
            text = str(value) if type(value) is Token else json.dumps(value)
            sample.skipped[key] = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
        else:
            sample.values[key] = found
    return sample


def _number(value: Any) -> float | None:
    if type(value) is Token and value in CONSTANTS:
        return NAMES[value]
    if type(value) is str:  # W&B stores a NaN as its name
        return NAMES.get(value)
    return value if type(value) in {int, float} and not abs(value) > LARGEST else None


def _whole(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 63 else None
