"""What several verbs share: options, the catalogue they speak of, and tables of plain text."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ..contract.catalogue import Catalogue

__all__ = [
    "CarryOption",
    "CatalogueOption",
    "FormatOption",
    "catalogue_with",
    "print_parts",
    "quiet_pipe",
    "replaced",
    "same_file",
    "table",
]

CarryOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Keys that need no declaration, such as 'my/*'."),
]
FormatOption = Annotated[
    Literal["text", "json", "github"], typer.Option("--format", help="How to say it.")
]
CatalogueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--catalogue",
        metavar="SOURCE",
        help="Your own keys beside the contract's: a module, an entry point, or a .json catalogue.",
    ),
]


def catalogue_with(sources: Sequence[str] | None) -> Catalogue:
    """The contract's catalogue, extended by ``sources``.

    A module is looked for in the current directory too, after everything that is installed.
    """
    from ..catalogue import CATALOGUE

    if not sources:
        return CATALOGUE
    sys.path.append(str(Path.cwd()))
    try:
        return CATALOGUE.extended(*sources)
    finally:
        sys.path.pop()


def table(rows: Sequence[Sequence[str]], gap: int = 2) -> str:
    """``rows`` in columns as wide as their widest cell, the last one ragged."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "".join(
            cell.ljust(width + gap) for cell, width in zip(row, [*widths, 0], strict=True)
        ).rstrip()
        for row in rows
    )


def print_parts(parts: Iterable[str]) -> None:
    """To standard output; a reader that has seen enough, such as ``head``, is no error."""
    quiet_pipe(lambda: sys.stdout.writelines(parts))


def quiet_pipe(write: Callable[[], object]) -> bool:
    """``write`` to standard output; False where its reader, such as ``head``, has seen enough."""
    try:
        write()
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit; that must not speak either.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return False
    return True


def replaced(output: Path, text: str) -> None:
    """A whole new file, or the old one: never half of one."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        part.replace(output)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def same_file(output: Path, file: str) -> bool:
    """Whether writing to ``output`` would write over ``file``."""
    with suppress(OSError):
        return output.samefile(file)
    return False
