"""One word for one thing: the units of values and the populations of denominators.

A population is a unit too: what one of its members is. A project adds its own: ``Unit("panel")``.
"""

from __future__ import annotations

from typing import NamedTuple


class Unit(str):
    """What a value, or one member of a population, is counted in.

    >>> Unit("panel")
    Unit('panel')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Unit({str.__repr__(self)})"


class Condition(NamedTuple):
    """When a key is present: a name that tools check, and the sentence that people read."""

    name: str
    text: str


FRACTION = Unit("fraction")
PROBABILITY = Unit("probability")
NAT = Unit("nat")
BIN = Unit("bin")
LOGIT = Unit("logit")
SECOND = Unit("second")
GIBIBYTE = Unit("GiB")
FLAG = Unit("flag")
FLOP = Unit("floating-point operation")
OBJECTIVE = Unit("objective")
INTERSECTION_OVER_UNION = Unit("intersection over union")
COSINE = Unit("cosine similarity")
KNOB = Unit("setting")

TOKEN = Unit("token")
SUPERVISED_TOKEN = Unit("supervised token")
TYPED_TOKEN = Unit("supervised token with a type")
TEXT_TOKEN = Unit("supervised non-coordinate token")
COORD_TOKEN = Unit("coordinate token")
DESC_TOKEN = Unit("description token")
FORMAT_TOKEN = Unit("format token")
TAIL_TOKEN = Unit("appended tail token")
OBJECT = Unit("object")
PAIR = Unit("matched pair")
CANDIDATE_PAIR = Unit("candidate pair")
SAMPLE = Unit("sample")
ROLLOUT = Unit("rollout")
PACK = Unit("pack")
SEGMENT = Unit("segment")
MICRO_STEP = Unit("micro-step")
STEP = Unit("optimizer step")
EPOCH = Unit("epoch")
NORMALISER = Unit("objective normaliser")
DROPPED = Unit("dropped thing")
