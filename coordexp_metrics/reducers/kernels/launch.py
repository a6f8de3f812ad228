"""Three launches leave the states of a batch in one tensor; the fourth adds it to the window.

The host decides by shapes, strides and settings alone: it never looks at what a tensor holds.
Tables are made once for each device, programs once for each vocabulary, dtype and stride.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from ...catalogue.coord_diag import Forward
from ..blocks import COLDEST
from .layout import POPULATIONS, Asked, Column, Layout, layout_of
from .program import Program, Settings, edges, power_of_two, program_of
from .rows import read_rows
from .sums import fill_states, sum_columns

__all__ = ["Kernels"]

WARPS = 8
STORED = Column.ONE
PARTS, ROWS, BLOCK = 32, 64, 32
ROWS_COUNTED = 512


class Tables(NamedTuple):
    """What lives on a device for as long as the reducer does."""

    ids: Tensor
    edges: Tensor
    settings: Tensor


class Read(NamedTuple):
    """What ``read_rows`` leaves of n rows: ``[n]``, ``[12, n]`` and ``[n]``."""

    flags: Tensor
    columns: Tensor
    slots: Tensor


class Kernels:
    """The kernels of one reducer.

    Args:
        settings: of the reducer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tables: dict[torch.device, Tables] = {}
        self._bits: dict[tuple[torch.device, int], Tensor] = {}
        self._layouts: dict[Asked, Layout] = {}
        self._sources: dict[tuple[torch.device, Asked], Tensor] = {}
        self._programs: dict[tuple[object, ...], Program] = {}

    def states(
        self, logits: Tensor, labels: Tensor, types: Tensor | None, forward: Forward | None
    ) -> tuple[Layout, Tensor]:
        """The states of a batch by a layout: float64, on the device of the logits.

        Args:
            logits: ``[B, S, V]``, float32, bfloat16 or float16, any strides.
            labels: integers ``[B, S]`` on the same device; types: the same, or None.
            forward: the pass of Stage 2, or None.

        Everything runs on the current stream of that device. The inputs are left as they are.
        """
        if forward is not None:
            types = None
        asked = self._settings.asked(typed=types is not None, forward=forward)
        layout = self._layouts.get(asked)
        if layout is None:
            layout = self._layouts[asked] = layout_of(asked)
        with _current(logits.device):
            read = self._read(logits, labels, asked)
            partials = self._summed(read, labels if types is None else types, asked)
            return layout, self._filled(read, partials, asked, layout)

    def _read(self, logits: Tensor, labels: Tensor, asked: Asked) -> Read:
        """The first launch: a program a row."""
        device, (count, length, size) = logits.device, logits.shape
        rows, tables, program = (
            count * length,
            self._tables_on(device),
            self._program(logits, asked),
        )
        # Each a tensor of its own, so that all are aligned and no number of rows is a new program.
        flags, slots = (torch.empty(rows, dtype=torch.int32, device=device) for _ in range(2))
        columns = torch.empty(STORED, rows, dtype=torch.float64, device=device)
        if rows:
            read_rows[(rows,)](
                logits,
                labels,
                tables.ids,
                self._bits_on(device, size),
                tables.edges,
                tables.settings,
                flags,
                columns,
                slots,
                length,
                logits.stride(0) // program.unit,
                *labels.stride(),
                rows,
                num_warps=WARPS,
                enable_fp_fusion=True,
                **program.arguments,
            )
        return Read(flags, columns, slots)

    def _summed(self, read: Read, placed: Tensor, asked: Asked) -> Tensor:
        """The second launch: every column over every population, in parts of the rows."""
        shape = (PARTS, len(Column), POPULATIONS)
        partials = torch.empty(shape, dtype=torch.float64, device=placed.device)
        sum_columns[shape[:2]](
            read.flags,
            read.columns,
            placed,
            partials,
            len(read.flags),
            placed.shape[1],
            *placed.stride(),
            self._settings.most,
            TYPED=asked.typed,
            SAMPLES=asked.sampled and asked.forward is None,
            PARTS=PARTS,
            COLUMNS=len(Column),
            ROWS=ROWS,
            enable_fp_fusion=True,
        )
        return partials

    def _filled(self, read: Read, partials: Tensor, asked: Asked, layout: Layout) -> Tensor:
        """The third launch: the states from the parts."""
        device, sums, counts = partials.device, len(layout.typed), layout.counts
        states = torch.empty(layout.size, dtype=torch.float64, device=device)
        fill_states[(-(-sums // BLOCK) - (-counts // BLOCK),)](
            partials,
            read.slots,
            self._table_on(device, asked, layout),
            states,
            len(read.slots),
            sums,
            counts,
            TYPED=asked.typed,
            PARTS=PARTS,
            COLUMNS=len(Column),
            ROWS=ROWS_COUNTED,
            BLOCK=BLOCK,
            enable_fp_fusion=True,
        )
        return states

    def _program(self, logits: Tensor, asked: Asked) -> Program:
        key = (logits.dtype, logits.shape[2], logits.stride(), asked)
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) > 64:  # strides of ever new lengths
                self._programs.clear()
            program = self._programs[key] = program_of(logits, self._settings, asked)
        return program

    def _tables_on(self, device: torch.device) -> Tables:
        tables = self._tables.get(device)
        if tables is None:
            limits = edges()
            padded = [*limits, *[math.inf] * (power_of_two(len(limits)) - len(limits))]
            tables = self._tables[device] = Tables(
                torch.tensor(self._settings.vocabulary.ids, dtype=torch.int32, device=device),
                torch.tensor(padded, dtype=torch.float64, device=device),
                torch.tensor(self._numbers(), dtype=torch.float64, device=device),
            )
        return tables

    def _numbers(self) -> list[float]:
        t, of, target = (
            self._settings.temperature,
            self._settings.weights,
            self._settings.soft_target,
        )
        truncate = math.inf if target.truncate is None else float(target.truncate)
        inverse = 1.0 / max(t, COLDEST)
        return [t, inverse, target.sigma, truncate, of.soft_ce, of.w1, of.ce, of.gate]

    def _bits_on(self, device: torch.device, size: int) -> Tensor:
        """A bit an id, set at coordinates: uint8 ``[ceil(V / 8)]``; empty where a range tells."""
        vocabulary = self._settings.vocabulary
        key = (device, 0 if vocabulary.span is not None else size)
        bits = self._bits.get(key)
        if bits is None:
            packed = bytearray(-(-key[1] // 8) or 1)
            for i in vocabulary.ids if key[1] else ():
                packed[i // 8] |= 1 << i % 8
            bits = self._bits[key] = torch.tensor(list(packed), dtype=torch.uint8, device=device)
        return bits

    def _table_on(self, device: torch.device, asked: Asked, layout: Layout) -> Tensor:
        table = self._sources.get((device, asked))
        if table is None:
            table = torch.tensor([layout.typed, layout.untyped], dtype=torch.int32, device=device)
            self._sources[device, asked] = table
        return table


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Kernels run on the current device; the host is one only for the interpreter."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
