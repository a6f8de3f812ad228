"""A reader of offline ``.wandb`` files: LevelDB's log blocks of 32 KiB, with protobuf inside."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32 * 1024
CHUNK = struct.Struct("<IHB")  # checksum, length, type
FULL, FIRST, MIDDLE, LAST = range(1, 5)
FILE_HEADER = struct.Struct("<4sHB")  # magic ":W&B", 0xBEE1, version


def messages(path: Path) -> Iterator[bytes]:
    """The whole messages of a file, joined from their chunks; a torn tail is left out."""
    data = path.read_bytes()
    at, parts = FILE_HEADER.size, []
    if len(data) >= at:
        assert FILE_HEADER.unpack_from(data) == (b":W&B", 0xBEE1, 0)
    while at + CHUNK.size <= len(data):
        left = BLOCK - at % BLOCK
        if left < CHUNK.size:
            at += left
            continue
        checksum, length, kind = CHUNK.unpack_from(data, at)
        body = data[at + CHUNK.size : at + CHUNK.size + length]
        if len(body) < length:
            return
        assert zlib.crc32(bytes([kind]) + body) == checksum
        at += CHUNK.size + length
        parts = [body] if kind in {FULL, FIRST} else [*parts, body]
        if kind in {FULL, LAST}:
            yield b"".join(parts)


class WandbFile:
    """What an offline run recorded.

    Attributes:
        history: the rows, in order, each a dict from key to number.
        metrics: the messages of ``define_metric``, by name, each name's in order.
        config: the run's configuration as it ended.
        summary: the summary as it ended; nested keys are joined by a dot.
        finished: whether the file holds the end of the run.
    """

    def __init__(self, path: Path) -> None:
        self.history: list[dict[str, Any]] = []
        self.metrics: dict[str, list[Any]] = {}
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.finished = False
        for message in messages(path):
            record = wandb_internal_pb2.Record.FromString(message)
            take = getattr(self, f"_{record.WhichOneof('record_type')}", None)
            if take is not None:
                take(record)

    @classmethod
    def of_finished(cls, path: Path, patience: float = 30.0) -> WandbFile:
        """The file of a run that was finished: its service ends writing after ``run.finish()``."""
        until = time.monotonic() + patience
        while not (file := cls(path)).finished:
            assert time.monotonic() < until, f"{path} has no end"
            time.sleep(0.02)
        return file

    def _exit(self, record: Any) -> None:
        self.finished = True

    def _history(self, record: Any) -> None:
        self.history.append(_items(record.history.item))

    def _metric(self, record: Any) -> None:
        self.metrics.setdefault(record.metric.name, []).append(record.metric)

    def _run(self, record: Any) -> None:
        self.config |= _items(record.run.config.update)

    def _config(self, record: Any) -> None:
        self.config |= _items(record.config.update)

    def _summary(self, record: Any) -> None:
        self.summary |= _items(record.summary.update)


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
