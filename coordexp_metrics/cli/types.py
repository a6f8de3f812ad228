"""``types FILE --tokenizer ...``: one sample, coloured by the type of its tokens, for the eye."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from unicodedata import combining, east_asian_width

import typer

from .common import table

if TYPE_CHECKING:
    from ..token_types.samples import Sample
    from ..token_types.view import TypedToken

__all__ = ["types"]

COLOURS = {"desc": "32", "coord": "36", "format": "90"}
MARKS = {"desc": "Dd", "coord": "Cc", "format": ":."}
WIDTH = 112
MEANINGS = {
    "desc": "the text of a description",
    "coord": "a coordinate",
    "format": "structure: keys, quotes, brackets, separators",
}


def types(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Samples, one a line.")],
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="NAME_OR_PATH",
            help="'qwen', a tokenizer.json, a folder with one, or a name that transformers knows.",
        ),
    ],
    line: Annotated[int, typer.Option(min=1, help="Which line to show.")] = 1,
    colour: Annotated[
        bool | None,
        typer.Option(
            "--color/--no-color", help="By default in a terminal, unless NO_COLOR is set."
        ),
    ] = None,
) -> None:
    """Show one sample's answer by the type of its tokens: description, coordinate or format.

    Exit codes: 0 shown; 1 the line has labels and they are not its answer; 2 it cannot be shown.
    """
    from ..contract.errors import MetricsError
    from ..token_types.samples import read_sample
    from ..token_types.view import typed_tokens

    try:
        sample = read_sample(_line(file, line))
        loaded = _tokenizer(tokenizer)
        tokens = typed_tokens(loaded, sample.payload)
        problem = _misaligned(loaded, sample)
    except (MetricsError, OSError) as error:
        _fail(str(error))
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for shown in _lines(tokens):
        _echo(_painted(shown) if colour else _marked(shown))
    _echo("\n" + _legend(tokens, colour=colour))
    if problem:
        _echo(f"\nmisaligned: {problem}")
        raise typer.Exit(1)


def _line(file: Path, number: int) -> str:
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        line = next(islice(lines, number - 1, number), None)
    if line is None:
        _fail(f"{file} has no line {number}")
    return line


def _tokenizer(name: str) -> Any:
    from ..contract.errors import MissingExtraError
    from ..token_types import qwen_tokenizer

    if name == "qwen":
        return qwen_tokenizer()
    path = Path(name) / "tokenizer.json" if Path(name).is_dir() else Path(name)
    try:
        if path.is_file():
            from tokenizers import Tokenizer

            return Tokenizer.from_str(_tokenizer_text(path))
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError("types", "a tokenizer by file or name") from None
    try:
        return AutoTokenizer.from_pretrained(name)  # type: ignore[no-untyped-call,unused-ignore]
    except ValueError as why:
        _fail(f"{name} is no tokenizer: {why}")


def _tokenizer_text(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or "model" not in data:
        _fail(f"{path} is no tokenizer.json")
    return text


def _misaligned(tokenizer: Any, sample: Sample) -> str | None:
    from ..token_types import compute_token_types

    if sample.labels is None:
        return None
    found = compute_token_types(tokenizer, sample.payload, sample.labels).misalignment
    return None if found is None else str(found)


def _painted(line: list[TypedToken]) -> str:
    """In colour; every other token is underlined, so that one sees where it ends."""
    return "".join(
        f"\x1b[{COLOURS[_name(token)]}{';4' * (place % 2)}m{_harmless(token.text)}\x1b[0m"
        for place, token in enumerate(line)
    )


def _marked(line: list[TypedToken]) -> str:
    """Without colour: below each character its type, below a token's first in another letter."""
    text, marks = "", ""
    for token in line:
        shown = _harmless(token.text)
        mark = MARKS[_name(token)]
        text += shown
        marks += mark[0] + mark[1] * (_width(shown) - 1)
    return f"{text}\n{marks}"


def _lines(tokens: list[TypedToken]) -> Iterator[list[TypedToken]]:
    """An object a line, and no line much longer than a terminal is wide."""
    line: list[TypedToken] = []
    for token in (token for token in tokens if token.text):
        line.append(token)
        closes = "}" in token.text and _name(token) == "format"
        if closes or sum(len(member.text) for member in line) >= WIDTH:
            yield line
            line = []
    if line:
        yield line


def _width(text: str) -> int:
    """Columns of a terminal: letters of East Asia have two, combining marks none."""
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    return max(len(text) + wide - sum(map(bool, map(combining, text))), 1)


def _legend(tokens: list[TypedToken], *, colour: bool) -> str:
    counts = Counter(map(_name, tokens))
    rows = []
    for name, meaning in MEANINGS.items():
        share = 100 * counts[name] / len(tokens) if tokens else 0.0
        mark = "" if colour else f"{MARKS[name][0]}{MARKS[name][1] * 3}"
        rows.append(
            [name, f"{counts[name]} tokens", f"{share:.1f} %", f"{mark}  {meaning}".strip()]
        )
    lines = table(rows).splitlines()
    if colour:
        names = zip(MEANINGS, lines, strict=True)
        lines = [f"\x1b[{COLOURS[name]}m{line}\x1b[0m" for name, line in names]
    mixed = [token for token in tokens if token.straddles]
    if mixed:
        examples = ", ".join(f"{_harmless(t.text)} is {_name(t)}" for t in mixed[:3])
        lines.append(f"{len(mixed)} tokens straddle two types, as {examples}")
    return "\n".join(lines)


def _name(token: TypedToken) -> str:
    from ..token_types.codes import NAMES

    return NAMES[token.type]


def _harmless(text: str) -> str:
    """Nothing that steers a terminal; letters of any script stay as they are."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _echo(text: str) -> None:
    encoding = sys.stdout.encoding or "ascii"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), color=True)


def _fail(message: str) -> NoReturn:
    typer.echo(f"coordexp-metrics: {_harmless(message)}", err=True)
    raise typer.Exit(2)
