"""Real ranks: gloo processes that are forked from a server which has imported torch already."""

import multiprocessing
import os
import tempfile
import traceback
from contextlib import suppress
from datetime import timedelta

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch.distributed", "coordexp_metrics", "tests.small"])
PATIENCE = 60


def _serve(rank, world, where, pipe):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=where,
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=PATIENCE),
    )
    while (job := pipe.recv()) is not None:
        function, arguments = job
        try:
            pipe.send((True, function(rank, *arguments)))
        except Exception:  # noqa: BLE001 -- the parent raises it
            pipe.send((False, traceback.format_exc()))
    with suppress(Exception):
        dist.destroy_process_group()


class Grid:
    """``world`` ranks that run one function after the other, together."""

    def __init__(self, world, where=None):
        where = where or f"file://{tempfile.mkdtemp()}/store"
        ends = [CONTEXT.Pipe() for _ in range(world)]
        self.processes = [
            CONTEXT.Process(target=_serve, args=(rank, world, where, end), daemon=True)
            for rank, (_, end) in enumerate(ends)
        ]
        self.pipes = [end for end, _ in ends]
        for process in self.processes:
            process.start()
        for _, end in ends:
            end.close()

    def run(self, function, *arguments, ranks=None):
        """What ``function(rank, *arguments)`` returned on each of ``ranks``; None from the dead."""
        ranks = range(len(self.pipes)) if ranks is None else ranks
        for rank in ranks:
            self.pipes[rank].send((function, arguments))
        return [self.answer(rank) for rank in ranks]

    def answer(self, rank):
        assert self.pipes[rank].poll(PATIENCE), f"rank {rank} hangs"
        try:
            done, result = self.pipes[rank].recv()
        except (EOFError, ConnectionResetError):
            return None
        assert done, result
        return result

    def stop(self):
        for pipe in self.pipes:
            with suppress(OSError):
                pipe.send(None)
        for process in self.processes:
            process.join(1)
            process.kill()
            process.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


GROUPS = {}


def group_of(world, size):
    """The group of the first ``size`` ranks; every rank of the grid calls this."""
    import torch.distributed as dist

    if size not in GROUPS:
        GROUPS[size] = dist.new_group(list(range(size)))
    return GROUPS[size]


class Recorder:
    """Counts what ``torch.distributed`` is asked for, by name and by whether the group is ours."""

    NAMES = (
        "all_reduce", "all_gather", "all_gather_into_tensor", "all_gather_object", "barrier",
        "broadcast", "broadcast_object_list", "gather", "gather_object", "reduce", "reduce_scatter",
        "scatter", "scatter_object_list", "send", "recv", "isend", "irecv", "monitored_barrier",
    )  # fmt: skip

    def __init__(self):
        self.calls = []

    def __enter__(self):
        import torch.distributed as dist

        self.before = {name: getattr(dist, name) for name in self.NAMES if hasattr(dist, name)}
        for name, function in self.before.items():
            setattr(dist, name, self._recorded(name, function))
        return self

    def __exit__(self, *_):
        import torch.distributed as dist

        for name, function in self.before.items():
            setattr(dist, name, function)

    def _recorded(self, name, function):
        def recorded(*arguments, **named):
            import torch.distributed as dist

            group = named.get("group")
            theirs = group in {None, dist.group.WORLD, *GROUPS.values()}
            shape = tuple(getattr(arguments[0], "shape", ())) if arguments else ()
            self.calls.append((name, "training group" if theirs else "own group", shape))
            return function(*arguments, **named)

        return recorded


def die(rank):
    os._exit(9)
