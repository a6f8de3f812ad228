"""What is left of a run, from its journals and spools, in order and once; and what may be missing.

Nothing is claimed to be complete that cannot be shown to be: a run whose last record is not known
is one from which records may be missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.errors import safe_text
from ..contract.journal import seal, unseal
from ..sinks.encode import footer_line, head_line, row_line
from ..sinks.spool import boot_id, read_spool
from ..sinks.spool_frames import FREE, ROOM, SLOT, frames_of
from .journal_index import Lines, Run, index_file
from .readers.limits import Limits
from .readers.problems import SourceError
from .readers.source import files_of

__all__ = ["Recovery", "recover"]


class Recovery:
    """The attempts that were found, and the lines of the merged log.

    Attributes:
        runs: the attempts: rank by rank, first to last.
        files: the journals and spools that were read.
        problems: what could not be read, as sentences.
        left_out: files beside the journals that are none.
    """

    def __init__(self, sources: Sequence[str], spools: Sequence[str] = ()) -> None:
        self.files: list[str] = []
        self.problems: list[str] = []
        self.left_out: list[str] = []
        self._limits = Limits()
        self._runs: dict[str, Run] = {}
        self._spooled: dict[str, str] = {}
        self._full: set[str] = set()
        self._lines = Lines()
        for source in sources:
            self._read_source(source)
        for spool in spools:
            self._read_spool(spool, None)
        for run in list(self._runs.values()):
            named = run.header.get("spool")
            if type(named) is str and run.name not in self._spooled and os.path.lexists(named):
                self._read_spool(named, run)
        self.runs = sorted(self._runs.values(), key=_in_order)
        self.lost = {run.name: tuple(self._losses(run)) for run in self.runs}

    @property
    def records(self) -> int:
        """How many records were found, each once."""
        return sum(run.records for run in self.runs)

    @property
    def exit_code(self) -> int:
        """0 complete, 1 something is missing or may be, 2 nothing was found."""
        if not self.records:
            return 2
        return int(bool(self.problems) or any(self.lost.values()))

    def lines(self, latest: bool = False) -> Iterator[bytes]:
        """The merged log: each attempt's header and its records in the order of emission.

        Args:
            latest: whether of a step that several attempts logged only the last one's are given.
        """
        last = self._last_attempts() if latest else None
        try:
            for number, run in enumerate(self.runs):
                yield head_line(run.header)
                for text in self._texts(run):
                    if last is None or last[_place(run, text)] == number:
                        yield seal(text)
                if last is None and not self.lost[run.name]:
                    yield footer_line({"records": run.records, "last_seq": run.seqs.end - 1})
        finally:
            self._lines.close()

    def report(self) -> Iterator[str]:
        """What was found and what is missing, in sentences of printable ASCII."""
        yield from self.problems
        for run in self.runs:
            yield f"{_title(run)}: {_found(run)}"
            yield from (f"  {loss}" for loss in self.lost[run.name] or ("nothing is missing",))

    def _read_source(self, source: str) -> None:
        try:
            files = files_of(source, self._limits.files)
        except SourceError as error:
            self.problems.append(str(error))
            return
        for file in files:
            try:
                taken = index_file(file, self._runs, self._lines, self._limits)
            except (SourceError, OSError) as error:
                self.problems.append(str(error))
                continue
            (self.files if taken else self.left_out).append(file)

    def _read_spool(self, path: str, run: Run | None) -> None:
        found = read_spool(path)
        name = found.header.get("run")
        where = safe_text(path, 400)[1:-1]
        if type(name) is not str or (run is not None and name != run.name):
            why = "; ".join(found.problems[:3]) or "it is of another run"
            self.problems.append(f"the spool {where} was not used: {why}")
            return
        if run is None:
            run = self._runs.setdefault(name, Run(name, _header_of(found.header)))
        self.files.append(path)
        self._spooled[name] = path
        if _is_full(path):
            self._full.add(name)
        self.problems += [f"the spool {where}: {problem}" for problem in found.problems]
        for row in found.records:
            run.add(row["seq"], *self._lines.hold(unseal(row_line(row)[:-1]) or b"{}"))

    def _losses(self, run: Run) -> Iterator[str]:
        """What is missing from ``run``, or may be."""
        before = run.header.get("resumed_from")
        if type(before) is dict and before.get("run_id") not in {None, *self._runs}:
            yield f"missing: the attempt before, {_resumed(before)}"
        last = run.footer.get("last_seq") if run.footer else None
        end = max(run.seqs.end, last + 1 if type(last) is int else 0)
        missing = 0
        for start, stop in run.seqs.gaps(end):
            if start == 0 and run.header.get("rank"):
                continue  # that rank writes what is its own alone, from when its group was lost
            missing += stop - start
            yield f"missing: {_span(start, stop)}"
        if run.footer is not None:
            return
        if len(run.damaged) > missing:
            first = run.damaged[0]
            yield f"may be missing: {len(run.damaged) - missing} damaged line(s), first {first}"
        why = self._unknown_end(run)
        if why:
            after = f"after seq {end - 1}" if end else "from the start"
            yield f"may be missing: everything {after}: {why}"

    def _unknown_end(self, run: Run) -> str | None:
        """Why nobody knows which record of ``run`` was the last; None if that is known."""
        if run.name in self._full:
            return "its spool was full, so later records may have been in memory alone"
        if run.name in self._spooled:
            return None
        spool = run.header.get("spool")
        if type(spool) is not str:
            return "the journal was not closed, and its run had no spool"
        where = safe_text(spool, 400)[1:-1]
        boot = run.header.get("boot")
        if boot and boot != boot_id():
            return (
                f"its spool {where} was on another machine, or in the memory of this one before "
                "it was restarted; copy it here and name it with --spool"
            )
        return f"its spool {where} is not there"

    def _texts(self, run: Run) -> Iterator[bytes]:
        for place in run.places():
            text = self._lines.text(place)
            if text is None:
                self.problems.append(f"{safe_text(run.files[0], 400)} changed while it was read")
            else:
                yield text

    def _last_attempts(self) -> dict[tuple[object, ...], int]:
        return {
            _place(run, text): number
            for number, run in enumerate(self.runs)
            for text in self._texts(run)
        }


def recover(sources: Sequence[str], spools: Sequence[str] = ()) -> Recovery:
    """Everything that is left of the runs in ``sources``, directories or journals.

    Args:
        sources: directories of journals, or journals.
        spools: spools beside those that the journals name.
    """
    return Recovery(sources, spools)


def _header_of(spool: Mapping[str, Any]) -> dict[str, Any]:
    """The header of a journal that is known from its spool alone."""
    return {"run_id": spool["run"], "rank": spool.get("rank"), "boot": spool.get("boot")}


def _is_full(path: str) -> bool:
    """Whether a spool that was read has no room for a record like the largest in it."""
    image = Path(path).read_bytes()
    free = sum(image.startswith(FREE, at) for at in range(0, len(image), SLOT))
    largest = max((len(frame.data) for frame in frames_of(image)[0]), default=0)
    return free * ROOM < largest


def _in_order(run: Run) -> tuple[float, float, float, str]:
    rank, attempt = run.header.get("rank"), run.header.get("attempt")
    created = run.header.get("created")
    return _number(rank), _number(attempt), _number(created), run.name


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _place(run: Run, text: bytes) -> tuple[object, ...]:
    """What two attempts at one step have in common."""
    row = json.loads(text)
    dataset = json.dumps(row.get("dataset"))
    return run.header.get("rank"), row.get("mode"), dataset, row.get("global_step")


def _title(run: Run) -> str:
    attempt, rank = run.header.get("attempt"), run.header.get("rank")
    what = f"run {safe_text(run.name, 200)[1:-1]}"
    what = f"attempt {attempt}, {what}" if type(attempt) is int else what
    return f"{what}, rank {rank}" if type(rank) is int and rank else what


def _found(run: Run) -> str:
    spans = ", ".join(_span(start, stop) for start, stop in list(run.seqs)[:3]) or "no numbers"
    again = f", {run.duplicates} of them found twice" if run.duplicates else ""
    torn = ", and a line that breaks off" if run.torn else ""
    return f"{run.records} record(s), {spans}{again}{torn}"


def _span(start: int, stop: int) -> str:
    return f"seq {start}" if stop == start + 1 else f"seq {start} to {stop - 1}"


def _resumed(before: Mapping[str, Any]) -> str:
    file, step, seq = (safe_text(before.get(name)) for name in ("file", "global_step", "seq"))
    return f"run {safe_text(before['run_id'])} in {file}, up to step {step} (seq {seq})"
