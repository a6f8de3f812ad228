"""``tail DIR --follow``: the newest records of a run as a table, live in a terminal."""

from __future__ import annotations

import fnmatch
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..contract.errors import safe_text
from .common import quiet_pipe, table

if TYPE_CHECKING:
    from ..audit.follow import Follower
    from ..contract.record import Record

__all__ = ["tail"]

PAUSE = 0.2
MAX_COLUMNS = 12
FIRST = ("log", "seq", "step", "mode")


def tail(
    source: Annotated[str, typer.Argument(metavar="DIR|FILE", help="A log, or its directory.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as records and attempts arrive.")
    ] = False,
    keys: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Keys to show, such as 'loss*,rollout/*'; repeatable."),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many records.")] = 10,
) -> None:
    """Show the newest records: a few telling numbers, or those of --keys.

    Exit code 0: shown. 2: there was no record. 130: interrupted.
    """
    from ..audit.follow import Follower

    view = _View(_patterns(keys), lines)
    follower = Follower(source, patient=follow)
    try:
        view.take(follower.poll())
        if follow:
            _follow(follower, view)
        shown = quiet_pipe(lambda: _show(view))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    _say(follower)
    if shown and not view.records:
        typer.echo("coordexp-metrics: no record could be read", err=True)
    raise typer.Exit(0 if view.records else 2)


class _View:
    """The newest records, and the columns that they fill."""

    def __init__(self, patterns: Sequence[str], lines: int) -> None:
        self.records: deque[Record] = deque(maxlen=lines)
        self._patterns = patterns

    def take(self, records: Any) -> list[Record]:
        """Add what has arrived."""
        new = list(records)
        self.records.extend(new)
        return new

    def columns(self, records: Sequence[Record]) -> list[str]:
        """The keys to show of ``records``, in the order of the patterns."""
        present = dict.fromkeys(_name(key) for record in records for key in record.values())
        found: dict[str, None] = {}
        for pattern in self._patterns:
            found |= dict.fromkeys(k for k in present if fnmatch.fnmatchcase(k, pattern))
        return list(found)[:MAX_COLUMNS]

    def rows(self) -> list[list[str]]:
        """A row of titles, and one for each record."""
        records = list(self.records)
        columns = self.columns(records)
        titles = [*FIRST, *(safe_text(key)[1:-1] for key in columns)]
        return [titles, *(_cells(record, columns) for record in records)]

    def line(self, record: Record) -> str:
        """A record on a line of its own."""
        columns = self.columns([record])
        cells = zip(columns, _cells(record, columns)[len(FIRST) :], strict=True)
        log, seq, step, mode = _cells(record, ())
        shown = [f"{safe_text(key)[1:-1]} {cell}" for key, cell in cells]
        return "  ".join([log, f"seq {seq}", f"step {step}", mode, *shown])


def _patterns(keys: list[str] | None) -> Sequence[str]:
    from ..sinks.console import TELLING

    given = [part for key in keys or () for part in key.split(",") if part]
    return given or [_name(key) for key in TELLING]


def _name(key: str) -> str:
    """A key without the prefix of evaluation, so that both modes share a column."""
    return key.removeprefix("eval_")


def _cells(record: Record, columns: Sequence[str]) -> list[str]:
    values = {_name(key): value for key, value in record.values().items()}
    log = safe_text(PurePath(record.origin[0]).name)[1:-1] if record.origin else "-"
    mode = record.mode if record.dataset is None else f"{record.mode} {safe_text(record.dataset)}"
    first = [log, "-" if record.seq is None else str(record.seq), str(record.global_step), mode]
    return first + [f"{values[key]:.6g}" if key in values else "" for key in columns]


def _show(view: _View) -> None:
    if sys.stdout.isatty():
        _console().print(_rich(view))
    elif view.records:
        sys.stdout.write(table(view.rows()) + "\n")


def _follow(follower: Follower, view: _View) -> None:
    """Until interrupted, or until nobody reads any more."""
    if not sys.stdout.isatty():
        shown = quiet_pipe(lambda: _print_lines(view, list(view.records)))
        while shown:
            time.sleep(PAUSE)
            new = view.take(follower.poll())
            shown = quiet_pipe(lambda new=new: _print_lines(view, new))  # type: ignore[misc]
        raise typer.Exit(0)
    from rich.live import Live

    with Live(_rich(view), console=_console(), auto_refresh=False) as live:
        while True:
            time.sleep(PAUSE)
            if view.take(follower.poll()):
                live.update(_rich(view), refresh=True)


def _print_lines(view: _View, records: Sequence[Record]) -> None:
    sys.stdout.writelines(f"{view.line(record)}\n" for record in records)


def _console() -> Any:
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def _rich(view: _View) -> Any:
    from rich.table import Table
    from rich.text import Text

    titles, *rows = view.rows()
    made = Table(box=None, pad_edge=False)
    for at, title in enumerate(titles):
        made.add_column(Text(title), justify="left" if at in {0, 3} else "right")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def _say(follower: Follower) -> None:
    for code, count in sorted(follower.problems.items()):
        typer.echo(f"coordexp-metrics: {count} line(s) could not be read: {code}", err=True)
