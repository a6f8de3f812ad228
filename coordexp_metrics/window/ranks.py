"""One collective on a group of our own; the first that fails or is late is the last.

Training never waits longer than the timeout, and only once: the group is then retired, announced,
and never used again, so that an abandoned collective has no later window to arrive in.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from ..contract.errors import RankError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["WORD", "Ranks", "ranks_of"]

WORD = 48
SURRENDER = 0.9
ROLL_CALL = 2.0

log = logging.getLogger("coordexp_metrics")


class Ranks:
    """The ranks of a window: this process alone, or those of a dedicated gloo group.

    Attributes:
        rank: this rank in the group.
        world_size: how many ranks the group has.
        shared: whether the next close reduces over all of them.
        missing: ranks that did not answer when the group was retired, as far as they are known.
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, group: ProcessGroup | None = None,
        timeout: float = 0,
    ) -> None:  # fmt: skip
        self.rank = rank
        self.world_size = world_size
        self.missing: tuple[int, ...] = ()
        self._group = group
        self._timeout = timeout

    @property
    def shared(self) -> bool:
        return self._group is not None

    def agree(self, words: Sequence[str]) -> None:
        """Compare ``words`` once, in an exchange whose size depends on their number alone.

        Raises:
            RankError: on every rank, the same: a rank has other words than most.
        """
        import torch
        import torch.distributed as dist

        own = b"".join(word.encode()[:WORD].ljust(WORD) for word in words)
        mine = torch.frombuffer(bytearray(own), dtype=torch.uint8)
        rows = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(rows, mine, group=self._group)
        found = [bytes(row.tolist()) for row in rows]
        usual = Counter(found).most_common(1)[0][0]
        for rank, row in enumerate(found):
            if row != usual:
                self._dissolve()
                raise RankError(
                    f"rank {rank} has {_words(row)}, the others have {_words(usual)}; "
                    "start all ranks with the same package and catalogue",
                    rank,
                    self.world_size,
                )

    def all_reduce(self, vector: array[float]) -> bool:
        """Sum ``vector`` over the ranks, in place; False if it could not be done, now and later."""
        group = self._group
        if group is None:
            return False
        import torch
        import torch.distributed as dist

        started, work = time.monotonic(), None
        try:
            dist.get_process_group_ranks(group)  # refuses a group that was destroyed
            summed = torch.frombuffer(vector, dtype=torch.float64)
            work = dist.all_reduce(summed, group=group, async_op=True)
            work.wait(timedelta(seconds=self._timeout))
        except (RuntimeError, ValueError, KeyError) as error:
            why = str(error).partition("\n")[0]
            self.retire(f"a collective failed after {time.monotonic() - started:.1f} s: {why}")
            return False
        return True

    def retire(self, why: str, missing: tuple[int, ...] | None = None) -> None:
        """Never use the group again, and say so once, naming the ranks at fault where known."""
        store = getattr(self._group, "get_group_store", lambda: None)()
        self._dissolve()
        if missing is not None:
            self._announce(why, missing)
        else:
            thread = threading.Thread(target=self._call_the_roll, args=(store, why), daemon=True)
            thread.start()
            atexit.register(thread.join, ROLL_CALL + 1)

    def _dissolve(self) -> None:
        import torch.distributed as dist

        group, self._group = self._group, None
        with suppress(RuntimeError, ValueError, KeyError, AssertionError):
            dist.destroy_process_group(group)

    def _call_the_roll(self, store: Any, why: str) -> None:
        """Who is left: a rank that is alive meets the same failure, and says so in the store."""
        missing: tuple[int, ...] = ()
        with suppress(RuntimeError):
            if store is not None:
                missing = self._absent(store)
        self._announce(why, missing)

    def _absent(self, store: Any) -> tuple[int, ...]:
        store.set(f"retired/{self.rank}", "1")
        deadline = time.monotonic() + min(ROLL_CALL, self._timeout)
        waiting = [rank for rank in range(self.world_size) if rank != self.rank]
        while waiting and time.monotonic() < deadline:
            waiting = [rank for rank in waiting if not store.check([f"retired/{rank}"])]
            time.sleep(0.02)
        return tuple(waiting)

    def _announce(self, why: str, missing: tuple[int, ...]) -> None:
        self.missing = missing
        who = f"ranks {', '.join(map(str, missing))} do not answer" if missing else "all answer"
        log.warning(
            "rank %d of %d retires the metrics group (%s; %s): "
            "records from here on are of this rank alone, and spelled local/...",
            self.rank, self.world_size, why, who,
        )  # fmt: skip


def ranks_of(group: ProcessGroup | Literal["local"] | None, timeout: float) -> Ranks:
    """The ranks behind the argument ``group`` of a window.

    Raises:
        RankError: the dedicated group could not be made in time.
        ValueError: ``group`` is something else.
    """
    torch = sys.modules.get("torch")
    dist: Any = getattr(torch, "distributed", None)
    running = dist is not None and dist.is_available() and dist.is_initialized()
    if isinstance(group, str) and group != "local":
        raise ValueError(f"group is None, 'local' or a process group, not {group!r}")
    if not running:
        if group not in {None, "local"}:
            raise ValueError("group is given, but torch.distributed is not initialised")
        return Ranks()
    if group == "local":
        return Ranks(dist.get_rank(), dist.get_world_size())
    try:
        members = dist.get_process_group_ranks(group)
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"group is no process group that this rank is in: {group!r}") from error
    if len(members) == 1:
        return Ranks()
    return _own_group(members, timeout)


def _own_group(members: list[int], timeout: float) -> Ranks:
    import torch.distributed as dist

    rank = members.index(dist.get_rank())
    try:
        # An operation gives up by itself before the window stops waiting for it, so that none is
        # left to write into memory or to keep the process from ending.
        group = dist.new_group(
            members, backend="gloo", timeout=timedelta(seconds=SURRENDER * timeout),
            use_local_synchronization=True,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        why = f"no group of ranks {members} could be made: {str(error).partition(chr(10))[0]}"
        raise RankError(f"{why}; every one of them makes the window", rank, len(members)) from error
    return Ranks(rank, len(members), group, timeout)


def _words(row: bytes) -> str:
    return " ".join(row.decode("ascii", "replace").split())
