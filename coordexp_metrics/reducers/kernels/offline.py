"""What the compiler makes of the kernels for a GPU that is not there.

It assembles the very programs that a launch would, for any architecture, and reads the machine
code: registers, spills, the width of each load, and the instructions of the loop over the logits.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .launch import BLOCK, PARTS, ROWS, ROWS_COUNTED, WARPS
from .layout import Column
from .program import Settings, program_of
from .rows import read_rows
from .sums import fill_states, sum_columns

__all__ = ["Build", "build_rows", "build_sums"]

POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
TYPES = {
    **dict.fromkeys(("labels", "types"), "*i64"),
    **dict.fromkeys(("coord_ids", "flags", "slots", "table"), "*i32"),
    **dict.fromkeys(("edges", "settings", "columns", "partials", "states"), "*fp64"),
    "bits": "*u8",
}
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(\S+)")
BACK = re.compile(r"\bBRA\b[^`]*`\((\.L_x_\d+)\)")


class Build(NamedTuple):
    """One program in machine code.

    Attributes:
        registers: of a thread.
        spills: instructions that move registers to memory or back.
        hot: the opcodes of the loop over whole tiles, in order; empty without such a loop.
        elements: how many logits a thread reads in one turn of it.
    """

    registers: int
    spills: int
    hot: tuple[str, ...]
    elements: int

    @property
    def per_element(self) -> float:
        """Instructions of the hot loop for one logit."""
        return len(self.hot) / self.elements

    @property
    def loads(self) -> list[str]:
        """The loads of the hot loop from memory."""
        return [opcode for opcode in self.hot if opcode.startswith("LDG")]


def build_rows(
    dtype: torch.dtype, size: int, settings: Settings, capability: int, *, typed: bool = True
) -> Build:
    """``read_rows`` for contiguous logits ``[B, S, size]``.

    Args:
        capability: 80 for an A100, 90 for an H100.
        typed: whether there are token types, hence entropies.
    """
    logits = torch.empty(2, 8, size, dtype=dtype, device="meta")
    program = program_of(logits, settings, settings.asked(typed=typed, forward=None))
    binary = _compiled(read_rows, program.arguments, capability, WARPS, {"logits": POINTERS[dtype]})
    return _read(binary, program.constants["UNROLL"] * program.constants["WIDTH"])


def build_sums(capability: int) -> list[Build]:
    """``sum_columns`` and ``fill_states``, with and without types and sampling."""
    shared = {"PARTS": PARTS, "COLUMNS": len(Column)}
    found = []
    for on in (False, True):
        columns = {**shared, "TYPED": on, "SAMPLES": on, "ROWS": ROWS}
        states = {**shared, "TYPED": on, "ROWS": ROWS_COUNTED, "BLOCK": BLOCK}
        for kernel, constants in ((sum_columns, columns), (fill_states, states)):
            found.append(_read(_compiled(kernel, constants, capability, 4, {}), 1))
    return found


def _compiled(
    kernel: Any, constants: dict[str, Any], capability: int, warps: int, types: dict[str, str]
) -> bytes:
    known = {**TYPES, **types}
    signature = {
        name: "constexpr" if name in constants else known.get(name, "i32")
        for name in kernel.arg_names
    }
    # torch aligns what it allocates, and a launch would tell the compiler so.
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return bytes(built.asm["cubin"])


def _read(binary: bytes, elements: int) -> Build:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        used = _tool("cuobjdump", "-res-usage", file.name)
        code = _tool("nvdisasm", "-c", file.name).splitlines()
    registers = re.search(r"REG:(\d+)", used)
    opcodes = [found[1] for line in code if (found := INSTRUCTION.match(line))]
    spills = sum(opcode.startswith(("STL", "LDL")) for opcode in opcodes)
    hot = max(_loops(code), key=_powers, default=())
    return Build(int(registers[1]) if registers else 0, spills, hot, elements)


def _powers(opcodes: tuple[str, ...]) -> float:
    """How much a loop is the hot one: the share of its powers, which masks do not thin out."""
    return opcodes.count("MUFU.EX2") / len(opcodes)


def _loops(code: list[str]) -> Iterator[tuple[str, ...]]:
    """The opcodes between a label and each jump back to it."""
    labels: dict[str, int] = {}
    for number, line in enumerate(code):
        if line.startswith(".L_x_"):
            labels[line.partition(":")[0]] = number
        jump = BACK.search(line)
        if jump and jump[1] in labels:
            body = code[labels[jump[1]] : number + 1]
            yield tuple(found[1] for entry in body if (found := INSTRUCTION.match(entry)))


def _tool(name: str, *arguments: str) -> str:
    """A tool that comes with triton."""
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    done = subprocess.run(  # noqa: S603
        [path, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout
