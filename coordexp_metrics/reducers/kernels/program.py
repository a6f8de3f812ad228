"""What a kernel is compiled for follows from shapes, strides and settings, not from any value.

Sizes and strides of a row are constants of the program: with V = 8 · 19117 the compiler proves
128-bit loads, which a number that comes at run time would forbid. The stride over samples grows
with their length, so it comes as a multiple of a constant unit, and a new length is no new program.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...catalogue.coord_diag import Forward
from ...catalogue.stage1 import Stage1CoordDiag
from ..coord_distribution import SoftTarget
from ..coord_vocabulary import CoordVocabulary
from ..keys import CoordWeights
from .layout import Asked

__all__ = ["Program", "Settings", "edges", "power_of_two", "program_of"]

# A lane is a thread; it reads 16 logits of a tile: two loads of 128 bits, or four of float32.
LANES, ELEMENTS = 256, 16
COLD = 1e-3


@dataclass(frozen=True)
class Settings:
    """What a reducer was told, as far as the kernels need it."""

    vocabulary: CoordVocabulary
    soft_target: SoftTarget
    temperature: float
    weights: CoordWeights
    top5: bool
    mass: bool
    most: int

    def asked(self, *, typed: bool, forward: Forward | None) -> Asked:
        """What is to be observed of a batch."""
        of = self.weights
        sampled = self.most > 0
        return Asked(
            typed, of.enabled, of.ce != 0, of.gate != 0, self.top5, self.mass, sampled, forward
        )


@dataclass(frozen=True)
class Program:
    """The constants that ``read_rows`` is compiled for, by their names."""

    constants: dict[str, Any]
    unit: int

    @property
    def arguments(self) -> dict[str, Any]:
        """As keywords of the kernel."""
        return {**self.constants, "UNIT": self.unit}


def program_of(logits: Tensor, settings: Settings, asked: Asked) -> Program:
    """The program for some logits: ranges, strides and sizes known, so that loads are wide.

    >>> from ..keys import CoordWeights
    >>> weights = CoordWeights(True, 1.0, 1.0, 0.0, 1.0)
    >>> vocabulary, target = CoordVocabulary(range(4000, 5000)), SoftTarget(1000, 2.0, None)
    >>> settings = Settings(vocabulary, target, 1.0, weights, True, True, 0)
    >>> asked = settings.asked(typed=True, forward=None)
    >>> program = program_of(torch.empty(1, 8, 20_000), settings, asked)
    >>> [program.arguments[name] for name in ("WIDTH", "HEAD", "TAIL", "UNIT")]
    [4, 0, 2, 4]
    """
    size = logits.shape[2]
    width = 16 // logits.element_size()
    unroll = max(1, ELEMENTS // width)
    tile = unroll * LANES * width
    span, count = settings.vocabulary.span, len(settings.vocabulary)
    start, stop = (size, size) if span is None else (span.start, span.stop)
    whole = size // tile
    head = min(start // tile, whole)
    stage1 = asked.forward is None
    constants = {
        "STRIDE_S": logits.stride(1),
        "STRIDE_V": logits.stride(2),
        "V": size,
        "K": count,
        "PADDED": power_of_two(count),
        "START": start,
        "STOP": stop,
        "ORDERED": settings.vocabulary.ordered,
        "SCATTERED": span is None,
        "HEAD": head,
        "TAIL": max(head, min(-(-stop // tile), whole)),
        "LOADS": power_of_two(-(-size // (LANES * width))),
        "HEATED": settings.temperature != 1,
        "COLD": settings.temperature < COLD,
        "ENTROPY": asked.typed and stage1,
        "RANK": asked.top5 and stage1,
        "PTX": torch.version.hip is None and not triton_interprets(),
        "COORD_ONLY": not stage1,
        "EDGES": power_of_two(len(edges())),
        "UNROLL": unroll,
        "LANES": LANES,
        "WIDTH": width,
    }
    return Program(constants, math.gcd(logits.stride(0), width))


def triton_interprets() -> bool:
    """Whether triton runs its kernels in numpy, on the host: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def edges() -> tuple[float, ...]:
    """Of the histogram of errors, in bins."""
    return Stage1CoordDiag.expected_bin_abs_err_p90.reduction.edges


def power_of_two(n: int) -> int:
    """The least that is not below n."""
    return 1 << max(n - 1, 0).bit_length()
