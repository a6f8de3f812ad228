"""One collective on a group of our own; the first that fails or is late is the last.

Training never waits longer than the timeout, and only once: the group is then retired, announced,
and never used again, so that an abandoned collective has no later window to arrive in.
"""

from __future__ import annotations

import atexit
import logging
import sys
import time
import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from ..contract.errors import RankError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

__all__ = ["GlooRanks", "Ranks", "ranks_of"]

WORD = 48
SURRENDER = 0.9
ROLL_CALL = 2.0
GATHERED = 8  # on few ranks to gather vectors and sum them here is shorter than to reduce

log = logging.getLogger("coordexp_metrics")


class Ranks:
    """The ranks of a window: this process alone, or those of a dedicated gloo group.

    Attributes:
        rank: this rank in the group.
        world_size: how many ranks the group has.
        missing: ranks that did not answer when the group was retired, as far as they are known.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size
        self.missing: tuple[int, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether the next close reduces over all of them."""
        return False


class GlooRanks(Ranks):
    """Ranks with a group of their own, beside ``parent`` and over the same processes.

    Raises:
        RankError: the group could not be made in time.
    """

    def __init__(self, parent: ProcessGroup, timeout: float) -> None:
        import torch.distributed as dist

        super().__init__(parent.rank(), parent.size())
        self._parent = parent
        self._timeout = timedelta(seconds=timeout)
        self._store: Any = _store_of(parent)
        try:
            # The name counts windows over the parent, so that it is the same on all of its ranks
            # whatever other groups a rank is in. An operation gives up by itself before the window
            # stops waiting for it: none is left to write, or to keep the process from ending.
            made = self._store.add(f"coordexp_metrics/windows/{self.rank}", 1)
            self._store = dist.PrefixStore(  # type: ignore[attr-defined]
                f"coordexp_metrics/{made}", self._store
            )
            group = dist.ProcessGroupGloo(
                self._store, self.rank, self.world_size, SURRENDER * self._timeout
            )
        except RuntimeError as error:
            raise self._alone(error) from error
        # Its threads end while the interpreter still runs: at exit the process would be aborted.
        self._held: list[Any] = [group]
        weakref.finalize(self, self._held.clear)

    @property
    def _group(self) -> Any:
        return self._held[0] if self._held else None

    def _alone(self, error: RuntimeError) -> RankError:
        return RankError(
            f"rank {self.rank} waited for {self.world_size} ranks; all of them make the window, "
            f"in the same order as their other windows ({_first_line(error)})",
            self.rank,
            self.world_size,
        )

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
        try:
            dist.all_gather(rows, mine, group=self._group)
        except RuntimeError as error:
            raise self._alone(error) from error
        found = [bytes(row.tolist()) for row in rows]
        usual = Counter(found).most_common(1)[0][0]
        for rank, row in enumerate(found):
            if row != usual:
                self._held.clear()
                raise RankError(
                    f"rank {rank} has {_words(row)}, the others have {_words(usual)}; "
                    "start all ranks with the same package and catalogue",
                    rank,
                    self.world_size,
                )

    def sum(self, vector: array[float]) -> bool:
        """Sum ``vector`` over the ranks, in place; False if it could not be done, now and later."""
        return self._attempt(partial(self._collect, vector))

    def gather(self, message: bytes, lengths: Sequence[int]) -> list[bytes] | None:
        """What every rank says, given how long it is; None if it could not be had."""
        heard: list[bytes] = []
        done = self._attempt(partial(self._exchange, message, lengths, heard))
        return heard if done else None

    def _attempt(self, job: Callable[[], None]) -> bool:
        """Whether ``job`` could be done over the ranks; the first failure retires the group."""
        if self._group is None:
            return False
        import torch.distributed as dist

        failure, started = "", time.monotonic()
        try:
            dist.get_process_group_ranks(self._parent)
            job()
        except KeyError:
            failure = "the process group was destroyed"
        except (RuntimeError, ValueError) as error:
            took = time.monotonic() - started
            failure = f"a collective failed after {took:.1f} s: {_first_line(error)}"
        if failure:  # not before the error is gone, whose frames hold the group
            self.retire(failure)
        return not failure

    def _collect(self, vector: array[float]) -> None:
        """The one collective of a step."""
        import torch
        import torch.distributed as dist

        summed = torch.frombuffer(vector, dtype=torch.float64)
        if self.world_size > GATHERED:
            work = dist.all_reduce(summed, group=self._group, async_op=True)
            work.wait(self._timeout)
            return
        torch.sum(torch.stack(self._all(summed)), dim=0, out=summed)

    def _exchange(self, message: bytes, lengths: Sequence[int], heard: list[bytes]) -> None:
        """Every message is padded to the longest, so that all ranks send tensors of one shape."""
        import torch

        padded = bytearray(message.ljust(max(1, *lengths), b"\0"))
        rows = self._all(torch.frombuffer(padded, dtype=torch.uint8))
        heard += [row.numpy()[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]

    def _all(self, mine: Tensor) -> list[Tensor]:
        import torch
        import torch.distributed as dist

        rows = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(rows, mine, group=self._group, async_op=True).wait(self._timeout)
        return rows

    def retire(self, why: str) -> None:
        """Never use the group again, and say so once, naming the ranks at fault where known.

        Letting go of the group closes its connections, so that the others learn of it at once.
        """
        held, self._held = self._held, []
        announcer = Thread(target=self._announce, args=(why,), daemon=True)
        try:
            # An operation that still runs holds up whoever lets go of its group, so a thread does.
            Thread(target=held.clear).start()
            announcer.start()
        except RuntimeError:  # the interpreter is ending, and starts no more threads
            _say(self.rank, self.world_size, why)
        else:
            atexit.register(announcer.join, ROLL_CALL + 1)

    def _announce(self, why: str) -> None:
        """Name who is missing; the store may be gone, or silent with the rank it lives in."""
        roll_call = Thread(target=self._call_the_roll, daemon=True)
        roll_call.start()
        roll_call.join(ROLL_CALL + 0.5)
        missing = ", ".join(map(str, self.missing))
        why += f"; no answer from ranks {missing}" if missing else ""
        _say(self.rank, self.world_size, why)

    def _call_the_roll(self) -> None:
        """A rank that is alive meets the same failure, and says so in the store."""
        with suppress(RuntimeError):
            self._store.set(f"retired/{self.rank}", "1")
            deadline = time.monotonic() + ROLL_CALL
            waiting = [rank for rank in range(self.world_size) if rank != self.rank]
            while waiting and time.monotonic() < deadline:
                waiting = [rank for rank in waiting if not self._store.check([f"retired/{rank}"])]
                time.sleep(0.02)
            self.missing = tuple(waiting)


def _store_of(parent: ProcessGroup) -> Any:
    import torch.distributed as dist

    if hasattr(parent, "get_group_store"):
        return parent.get_group_store()
    # Older releases, back to 2.4, offer the store of a group only under this name.
    return dist.distributed_c10d._get_process_group_store(parent)  # noqa: SLF001


def _say(rank: int, world_size: int, why: str) -> None:
    log.warning(
        "rank %d of %d retires the metrics group (%s): "
        "records from here on are of this rank alone, and spelled local/...",
        rank, world_size, why,
    )  # fmt: skip


def ranks_of(group: ProcessGroup | Literal["local"] | None, timeout: float) -> Ranks:
    """The ranks behind the argument ``group`` of a window.

    Raises:
        RankError: the dedicated group could not be made in time.
        ValueError: ``group`` is something else.
    """
    if isinstance(group, str) and group != "local":
        raise ValueError(f"group is None, 'local' or a process group, not {group!r}")
    torch = sys.modules.get("torch")
    dist: Any = getattr(torch, "distributed", None)
    if dist is None or not dist.is_available() or not dist.is_initialized():
        if group not in {None, "local"}:
            raise ValueError("group is given, but torch.distributed is not initialised")
        return Ranks()
    if group == "local":
        return Ranks(dist.get_rank(), dist.get_world_size())
    parent = dist.group.WORLD if group is None else group
    try:
        members = dist.get_process_group_ranks(parent)
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"group is no process group that this rank is in: {group!r}") from error
    return GlooRanks(parent, timeout) if len(members) > 1 else Ranks()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _words(row: bytes) -> str:
    return " ".join(row.decode("ascii", "replace").split())
