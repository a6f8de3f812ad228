"""``replay SOURCE --to tensorboard:DIR``: the records of any readable log, sent to sinks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import CatalogueOption, catalogue_with
from .validate import opened, progress

if TYPE_CHECKING:
    from ..contract.catalogue import Catalogue
    from ..contract.payload import Payload
    from ..contract.record import Record
    from ..sinks.base import Sink
    from ..sinks.fanout import FanOut

__all__ = ["replay"]

OFFLINE = "wandb:offline"
KINDS = f"tensorboard:DIR, jsonl:PATH, {OFFLINE}, console, or a sink of your own"


def replay(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Logs, directories of logs, or -.")
    ],
    to: Annotated[list[str], typer.Option("--to", metavar="SINK", help=f"{KINDS}.")],
    catalogue: CatalogueOption = None,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="Read through symbolic links.")
    ] = False,
) -> None:
    """Send a log to dashboards: canonical names, descriptions, and the times of the original.

    Keys that nothing declares are carried. Exit code 0: all sent. 1: lines could not be read.
    2: a file or a destination could not be used, or there was no record.
    """
    declared = catalogue_with(catalogue)
    records = opened(sources, follow_symlinks=follow_symlinks)
    try:
        with progress(records, "replaying"):
            code = _replay(records, declared, to)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code)


def _replay(records: Any, catalogue: Catalogue, destinations: Sequence[str]) -> int:
    from ..audit.rules import RULE_OF_CODE, RULES
    from ..audit.validate import REFUSALS

    rows = iter(records)
    first = next(rows, None)
    if first is None:
        _say_problems(records.problems)
        sys.stderr.write("coordexp-metrics: nothing to replay: no record could be read\n")
        return 2
    with _sinks(destinations) as sinks:
        sender = _Sender(catalogue, sinks, records.headers)
        for record in chain((first,), rows):
            sender.send(record)
        sender.close()
    _say_problems(records.problems)
    sys.stderr.write(sender.summary())
    codes = records.problems.counts
    if sender.lost or not REFUSALS.isdisjoint(codes):
        return 2
    return int(any(RULES[RULE_OF_CODE[code]].severity == "error" for code in codes))


@contextmanager
def _sinks(destinations: Sequence[str]) -> Iterator[list[Sink]]:
    """The sinks, and an offline W&B run of our own where one is wanted."""
    from ..sinks import WandbSink

    run: Any = _offline_run() if OFFLINE in destinations else None
    try:
        yield [WandbSink(run) if place == OFFLINE else _sink(place) for place in destinations]
    finally:
        if run is not None:
            run.finish()


def _sink(place: str) -> Sink:
    from ..contract.errors import SinkError
    from ..sinks import sink_from

    try:
        return sink_from(place)
    except SinkError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from error


def _offline_run() -> Any:
    from ..contract.errors import MissingExtraError

    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb", "replay --to wandb:offline") from error
    settings = wandb.Settings(x_disable_meta=True, save_code=False, silent=True, console="off")
    return wandb.init(mode="offline", project="coordexp-metrics-replay", settings=settings)


class _Sender:
    """What a registry does with payloads, for records that keep their own time and order."""

    def __init__(
        self, catalogue: Catalogue, sinks: Sequence[Sink], headers: Sequence[Mapping[str, Any]]
    ) -> None:
        from ..contract.check import Checker
        from ..contract.header import Header
        from ..emission import Namer
        from ..sinks.fanout import FanOut

        written = headers[0] if headers else {}
        run = written.get("run")
        parameters = written.get("parameters")
        self._catalogue = catalogue
        self._namer = Namer(Checker(catalogue, ["*"]))
        self._fanout: FanOut = FanOut(
            sinks,
            Header(
                catalogue,
                run if isinstance(run, dict) else {},
                parameters=parameters if isinstance(parameters, dict) else {},
            ),
        )
        self._sent = 0
        self._values = 0
        self._dropped: dict[str, int] = {}

    @property
    def lost(self) -> bool:
        """Whether a sink lost a record."""
        return any(channel.dropped or channel.pending for channel in self._fanout.channels)

    def send(self, record: Record) -> None:
        emission = self._namer.emission(self._payload(record))
        seq = self._sent if record.seq is None else record.seq
        self._sent += 1
        self._values += len(emission.metrics) + len(emission.nonfinite)
        for code in (*emission.dropped.values(), *("value.type" for _ in record.skipped)):
            self._dropped[code] = self._dropped.get(code, 0) + 1
        sent = replace(
            record,
            metrics=emission.metrics,
            nonfinite=emission.nonfinite,
            extra=emission.extra,
            seq=seq,
            skipped={},
            origin=None,
        )
        self._fanout.put(sent, None, ())
        self._fanout.wake()

    def close(self) -> None:
        """Flush and close every sink."""
        from ..sinks.entries import Mark

        self._fanout.mark(Mark(flush=True, close=True))
        self._fanout.wake()

    def summary(self) -> str:
        """What became of the records."""
        dropped = ", ".join(f"{count} {code}" for code, count in sorted(self._dropped.items()))
        lines = [f"{self._sent} records, {self._values} values; left out: {dropped or 'nothing'}"]
        for channel in self._fanout.channels:
            lacks = channel.dropped or channel.pending
            lost = f", lost: {channel.last_error}" if lacks else ""
            lines.append(f"{channel.sink.name}: {channel.delivered} of {channel.accepted}{lost}")
        return "".join(f"coordexp-metrics: {ascii(line)[1:-1]}\n" for line in lines)

    def _payload(self, record: Record) -> Payload:
        from ..contract.payload import Payload

        names = {key: self._spelled(key) for key in (*record.metrics, *record.nonfinite)}
        return Payload(
            record.mode,
            record.global_step,
            {names[key]: value for key, value in record.metrics.items()},
            {names[key]: value for key, value in record.nonfinite.items()},
            coverage=record.coverage,
            dataset=record.dataset,
            extra=record.extra,
        )

    def _spelled(self, key: str) -> str:
        """The train name where it is known; else without a dashboard's form of the prefix."""
        found = self._catalogue.resolve(key)
        if found is not None:
            return key
        return key.removeprefix("eval/").removeprefix("test/")


def _say_problems(problems: Any) -> None:
    for problem in problems:
        sys.stderr.write(f"coordexp-metrics: {problem}\n")
