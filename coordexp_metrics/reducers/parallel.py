"""On a host, threads share rows, never one operation.

An operation split over cores waits for the slowest of them, at every operation; where a data loader
keeps one core busy that costs most of the speed. So each of our threads tells its OpenMP runtime
that it works alone, and where no runtime can be told, its operations stay below what torch splits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from . import hosts

__all__ = ["UNSPLIT", "in_threads", "widest"]

UNSPLIT = 32_767
CACHED = 640_000

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Task], Result], tasks: Sequence[Task], device: torch.device
) -> list[Result]:
    """``[work(task) for task in tasks]``, on a host by as many threads as torch would use.

    The threads live for the call, so nothing is left to a fork or to the end of the process.

    >>> in_threads(abs, [-1, 2], torch.device("cpu"))
    [1, 2]
    """
    threads = min(len(tasks), torch.get_num_threads())
    if not hosts.on_host(device) or threads < 2:
        return [work(task) for task in tasks]
    with ThreadPoolExecutor(threads, "coordexp_metrics", _work_alone) as pool:
        return list(pool.map(work, tasks))


def widest() -> int:
    """How many elements an operation of this thread takes: what a cache holds, or torch splits."""
    return CACHED if torch.get_num_threads() == 1 else UNSPLIT


def _work_alone() -> None:
    """Set the number of OpenMP threads of this thread, and of no other, to one."""
    torch.get_num_threads()
    set_threads = _openmp()
    if set_threads is not None:
        set_threads(1)


@cache
def _openmp() -> Any:
    """``omp_set_num_threads`` of the runtime that torch itself is linked to, or None."""
    for library in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            return ctypes.CDLL(str(library)).omp_set_num_threads
        except (AttributeError, OSError):
            continue
    return None
