"""Training never waits for a rank longer than the timeout, and once; what is local says so."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from coordexp_metrics import RankError
from coordexp_metrics.window import Window, ranks
from tests.small import SMALL, Progress, Rollout
from tests.window.grid import Grid

TIMEOUT = 1.5
SLACK = 1.5
PHASES = ["bound", "between", "stepped"]


class Heard(logging.Handler):
    """What was logged."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []
        logging.getLogger("coordexp_metrics").addHandler(self)

    def emit(self, record):
        self.lines.append(record.getMessage())


def survive(rank, victim, phase, how, lag=0):
    """Ten closes, the victim lost on the way; how long each took and what it gave."""
    window = Window(SMALL, timeout=TIMEOUT, lag=lag)
    heard = Heard()
    if phase != "bound":
        window.observe(Rollout.matched, 100)
        window.close(mode="train", global_step=0)
        window.drain()
    if phase == "stepped":
        window.observe(Rollout.matched, 10)
        window.step()
    if rank == victim:
        _fail(how)
    took, rows = [], []
    for step in range(1, 11):
        window.observe(Rollout.matched, 1)
        window.observe(Progress.samples_total, 1)
        started = time.monotonic()
        row = window.close(mode="train", global_step=step)
        took.append(time.monotonic() - started)
        rows += [row] if row else []
    rows += window.drain()
    time.sleep(3)
    window.observe(Rollout.matched, 1)
    last = window.close(mode="train", global_step=11) if not lag else None
    return (
        took,
        [(row.coverage, dict(row.metrics)) for row in rows],
        last and last.coverage,
        heard.lines,
    )


def _fail(how):
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif how == "late":
        time.sleep(TIMEOUT + 1)


def check_survivor(answer, victim, phase, how, world):
    took, rows, last, lines = answer
    assert sum(took) < TIMEOUT + SLACK, "the timeout, once"
    rows = [row for row in rows if row[1].get("rollout/matched") != 100 * world]
    if phase == "stepped":
        coverage, metrics = rows.pop(0)
        assert (coverage["scope"], metrics) == ("global", {"rollout/matched": 10 * world})
    for coverage, metrics in rows:
        assert coverage["scope"] == "local"
        assert metrics.keys() == {"local/rollout/matched", "local/train/samples_total"}
    assert sum(metrics["local/rollout/matched"] for _, metrics in rows) == 10, "and none is lost"
    retired = [line for line in lines if "retires the metrics group" in line]
    assert len(retired) == 1, "announced once"
    if how != "late":
        assert f"no answer from ranks {victim}" in retired[0]
        assert last is None or last["missing_ranks"] == [victim]


def lose(victim, phase, how, world=3, lag=0, where=None):
    with Grid(world, where) as grid:
        others = [rank for rank in range(world) if rank != victim]
        for rank in range(world):
            grid.pipes[rank].send((survive, (victim, phase, how, lag)))
        for rank in others:
            check_survivor(grid.answer(rank), victim, phase, how, world)
        if how == "late":
            took, rows, *_ = grid.answer(victim)
            assert sum(took) < TIMEOUT + SLACK
            assert rows[-1][0]["scope"] == "local"


@pytest.mark.parametrize(
    ("victim", "phase", "how"),
    [
        (0, "between", "killed"),
        (1, "bound", "killed"),
        (2, "stepped", "killed"),
        (1, "between", "stopped"),
        (2, "bound", "late"),
    ],
)
def test_R04_R05_a_lost_rank_costs_the_timeout_once(victim, phase, how):
    lose(victim, phase, how)


def test_R04_a_death_is_seen_at_once_by_ranks_that_are_not_its_neighbours():
    lose(3, "between", "killed", world=4)


def test_R04_with_lag_a_lost_rank_costs_no_more():
    lose(1, "between", "killed", lag=1)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_R14_the_rank_that_holds_the_store_is_lost(how):
    """Without the store nobody can be named; everything else is as ever."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Grid(3, f"tcp://127.0.0.1:{port}") as grid:
        for rank in range(3):
            grid.pipes[rank].send((survive, (0, "between", how, 0)))
        for rank in (1, 2):
            took, rows, _, lines = grid.answer(rank)
            assert sum(took) < TIMEOUT + SLACK
            assert {coverage["scope"] for coverage, _ in rows} == {"local"}
            assert len([line for line in lines if "retires the metrics group" in line]) == 1


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(100))
def test_R04_a_hundred_deaths(round_):
    lose(round_ % 3, PHASES[round_ // 3 % 3], ("killed", "stopped")[round_ % 2])


def persistent(rank):
    """The operation is told to go on for much longer than the window waits."""
    ranks.SURRENDER = 20
    window = Window(SMALL, timeout=TIMEOUT)
    if rank == 1:
        _fail("stopped")
    started = time.monotonic()
    window.close(mode="train", global_step=1)
    window.close(mode="train", global_step=2)
    return time.monotonic() - started


def test_R04_an_operation_that_does_not_give_up_is_left_alone():
    with Grid(2) as grid:
        for pipe in grid.pipes:
            pipe.send((persistent, ()))
        assert grid.answer(0) < TIMEOUT + SLACK


def bind(rank, absent):
    started = time.monotonic()
    if rank != absent:
        with pytest.raises(RankError, match="all of them make the window") as caught:
            Window(SMALL, timeout=TIMEOUT)
        return time.monotonic() - started, caught.value.rank, caught.value.world_size
    return None


def test_R04_a_rank_that_never_makes_the_window_is_an_error_in_time():
    with Grid(3) as grid:
        for rank, answer in enumerate(grid.run(bind, 2)[:2]):
            assert answer[0] < TIMEOUT + SLACK
            assert answer[1:] == (rank, 3)


def destroyed(rank, all_of_them):
    window = Window(SMALL, timeout=TIMEOUT)
    heard = Heard()
    if all_of_them or rank == 1:
        dist.destroy_process_group()
    window.observe(Rollout.matched, 1)
    started = time.monotonic()
    payload = window.close(mode="train", global_step=1)
    took = time.monotonic() - started
    window.observe(Rollout.matched, 1)
    again = window.close(mode="train", global_step=2)
    time.sleep(2.5)
    return took, dict(payload.metrics), dict(again.metrics), len(heard.lines)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_R13_a_group_that_was_destroyed_is_not_used(all_of_them):
    with Grid(2) as grid:
        for took, metrics, again, lines in grid.run(destroyed, all_of_them):
            assert took < TIMEOUT + SLACK
            assert metrics == again == {"local/rollout/matched": 1}
            assert lines == 1


def restarted(rank, path):
    """The old world ends, and another one begins in the same processes."""
    old = Window(SMALL, timeout=TIMEOUT)
    old.observe(Progress.samples_total, 1)
    old.close(mode="train", global_step=1)
    dist.destroy_process_group()
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    new = Window(SMALL, timeout=TIMEOUT)
    new.load_state_dict(old.state_dict())
    new.observe(Progress.samples_total, 1)
    payload = new.close(mode="train", global_step=2)
    return payload.metrics["train/samples_seen"], old.close(mode="train", global_step=2).coverage


def test_R13_after_a_restart_the_run_goes_on_and_the_old_window_stays_local(tmp_path):
    with Grid(2) as grid:
        for seen, coverage in grid.run(restarted, tmp_path / "again"):
            assert seen == 4
            assert coverage["scope"] == "local"


LEAVE = """
import os, sys, time
import torch.distributed as dist
from coordexp_metrics import CATALOGUE
from coordexp_metrics.window import Window, ranks
rank, path, lag = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
window = Window(CATALOGUE, timeout=2.0, lag=lag, families=["Packing"])
window.close(mode="train", global_step=1)
if rank == 1:
    time.sleep(4)
window.close(mode="train", global_step=2)
print("closed", flush=True)
"""


@pytest.mark.parametrize("lag", [0, 1])
def test_R04_the_interpreter_ends_after_an_abandoned_collective(tmp_path, lag):
    """Nothing hangs at exit, and nothing is torn down while it runs."""
    command = [sys.executable, "-c", LEAVE]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), str(lag)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in ranks:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, "closed"), err


def test_R20_debug_switches_change_nothing(tmp_path):
    environment = {
        **os.environ,
        "TORCH_DISTRIBUTED_DEBUG": "DETAIL",
        "TORCH_NCCL_BLOCKING_WAIT": "1",
    }
    # Under DETAIL torch itself aborts now and then at the exit of a process that keeps its group.
    script = LEAVE.replace("time.sleep(4)", "pass") + "dist.destroy_process_group()\n"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), str(tmp_path / "store"), "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in ranks:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, "closed"), err
        assert "retires" not in err
