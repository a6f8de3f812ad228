"""On a host, threads share rows, never one operation.

An operation split over cores waits for the slowest of them, at every operation; where a data loader
keeps one core busy that costs most of the speed. Torch splits none of fewer than 32,768 elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from . import hosts

__all__ = ["UNSPLIT", "in_threads"]

UNSPLIT = 32_767

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

    without_graph = torch.no_grad()(work)
    with ThreadPoolExecutor(threads, "coordexp_metrics") as pool:
        return list(pool.map(without_graph, tasks))
