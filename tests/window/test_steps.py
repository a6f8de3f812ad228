"""Steps fold into a logging window, checkpoints into the next run, and lag waits for nothing."""

import json
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from coordexp_metrics import CATALOGUE, ObservationError
from coordexp_metrics.catalogue.progress import Accumulation, Packing
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.window import Window, steps
from tests.small import SMALL, Knobs, Objective, Progress, Rollout


def test_steps_fold_into_one_payload():
    window = Window(SMALL)
    for step in range(1, 4):
        window.observe(Rollout.matched, step)
        window.observe(Knobs.temperature, step / 10)
        window.observe(Knobs.generate_s, 1.0)
        window.observe(Knobs.peak, -step)
        window.step()
    payload = window.close(mode="train", global_step=3)
    assert payload.metrics == {
        "rollout/matched": 6, "knob/temperature": 0.3, "knob/generate_s": 3.0, "knob/peak": -1,
    }  # fmt: skip
    assert payload.coverage["steps"] == 3
    assert window.disagreements == {}


def test_what_follows_the_last_step_is_one_more():
    window = Window(SMALL)
    window.observe(Rollout.matched, 1)
    window.step()
    window.step()
    window.observe(Rollout.matched, 2)
    payload = window.close(mode="train", global_step=1)
    assert (payload.metrics["rollout/matched"], payload.coverage["steps"]) == (3, 3)


def test_a_disagreement_within_a_step_is_not_forgotten_by_the_next():
    window = Window(SMALL)
    window.observe(Knobs.temperature, 0.7)
    window.observe(Knobs.temperature, 0.0)
    window.step()
    window.observe(Knobs.temperature, 0.7)
    assert window.close(mode="train", global_step=1).metrics == {}
    assert window.disagreements == {"knob/temperature": {0.0: (0,), 0.7: (0,)}}


def test_a_partial_last_accumulation():
    """The last update of an epoch has fewer micro-steps; its numbers are of those."""
    window = Window(CATALOGUE)
    rows = []
    for micro_steps in (4, 4, 1):
        for _ in range(micro_steps):
            window.observe("loss", 2.0, 1)
            window.observe("pack/num_samples", 3)
            window.observe("train/samples_total", 3)
            window.observe("train/micro_steps", 1)
            window.observe("accum/grad_steps", 4)
        window.observe("accum/current_grad_steps", micro_steps)
        rows.append(window.close(mode="train", global_step=len(rows) + 1).metrics)
    wanted = {
        "loss": 2.0, "pack/num_samples": 3, "train/samples_total": 3, "train/samples_seen": 27,
        "train/micro_steps": 1, "accum/grad_steps": 4, "accum/current_grad_steps": 1,
    }  # fmt: skip
    assert rows[2] == wanted
    assert [row["train/samples_seen"] for row in rows] == [12, 24, 27]


def test_a_checkpoint_holds_plain_numbers_and_continues():
    one = Window(SMALL)
    one.observe(Progress.samples_total, 5)
    one.close(mode="train", global_step=1)
    one.observe(Progress.samples_total, 7)
    one.step()
    one.observe(Objective.loss, torch.tensor(3.0), 2)
    state = json.loads(json.dumps(one.state_dict()))
    two = Window(SMALL)
    two.load_state_dict(state)
    for window in (one, two):
        payload = window.close(mode="train", global_step=2)
        assert payload.metrics == {
            "loss": 1.5, "train/samples_total": 7, "train/samples_seen": 12,
        }  # fmt: skip
        assert payload.coverage["steps"] == 2


def test_what_another_rank_had_open_is_left_to_it(caplog):
    one = Window(SMALL)
    one.observe(Progress.samples_total, 5)
    state = one.state_dict() | {"rank": 1, "world_size": 2}
    two = Window(SMALL)
    two.load_state_dict(state)
    assert two.close(mode="train", global_step=1).metrics == {}
    assert "rank 1 of 2 had an open step" in caplog.text


def test_a_changed_catalogue_takes_the_running_totals_alone(caplog):
    one = Window(SMALL)
    one.observe(Progress.samples_total, 5)
    one.close(mode="train", global_step=1)
    one.observe(Rollout.matched, 5)
    two = Window(Catalogue(Objective, Progress))
    two.load_state_dict(one.state_dict())
    two.observe(Progress.samples_total, 1)
    assert two.close(mode="train", global_step=2).metrics["train/samples_seen"] == 6
    assert "the catalogue changed" in caplog.text


def test_a_state_of_a_later_version_is_refused():
    window = Window(SMALL)
    with pytest.raises(ValueError, match="version 2"):
        window.load_state_dict(window.state_dict() | {"version": 2})


def test_going_back_in_steps_is_a_new_attempt():
    window = Window(SMALL)
    window.close(mode="train", global_step=5)
    state = window.state_dict()
    for step in (6, 7):
        payload = window.close(mode="train", global_step=step)
    assert (window.attempt, "attempt" in payload.coverage) == (1, False)
    window.load_state_dict(state)
    payload = window.close(mode="train", global_step=6)
    assert (window.attempt, payload.coverage["attempt"]) == (2, 2)


def test_a_step_that_repeats_is_a_new_attempt():
    window = Window(SMALL)
    for step in (5, 6, 6):
        window.close(mode="train", global_step=step)
    window.close(mode="eval", global_step=6)
    assert window.attempt == 2


def test_families_in_use_keep_the_vector_short():
    window = Window(CATALOGUE, families=[Packing, "Accumulation"])
    assert window.layout.nbytes < 300 < Window(CATALOGUE).layout.nbytes
    window.observe(Accumulation.grad_steps, 4)
    assert window.close(mode="train", global_step=1).metrics == {"accum/grad_steps": 4}
    with pytest.raises(ObservationError, match="not among the families in use"):
        window.observe("loss", 1.0, 1)
    with pytest.raises(ValueError, match="Pakcing"):
        Window(CATALOGUE, families=["Pakcing"])


def test_a_new_name_of_an_open_vocabulary_counts_as_other():
    window = Window(CATALOGUE)
    reasons = "stage2_ab/channel_b/strict_drop/reason/"
    window.observe(f"{reasons}never_heard_of", 2)
    window.observe(f"{reasons}other", 1)
    assert window.close(mode="train", global_step=1).metrics == {f"{reasons}other": 3}


class HostSyncs(TorchDispatchMode):
    """Counts what makes this thread wait for a device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("lag", [0, 1])
def test_lag_has_no_host_sync_on_the_calling_thread(lag, monkeypatch):
    threads = []
    to_list = torch.Tensor.tolist
    monkeypatch.setattr(
        torch.Tensor, "tolist", lambda t: threads.append(threading.current_thread()) or to_list(t)
    )
    window = Window(SMALL, lag=lag)
    with HostSyncs() as syncs:
        for step in range(3):
            window.observe(Objective.loss, torch.tensor(2.0), torch.tensor(1))
            window.observe(Knobs.length_p90, torch.ones(4))
            window.close(mode="train", global_step=step)
        window.drain()
    assert syncs.count == 0
    assert len(threads) == 3
    assert (threading.current_thread() in threads) == (lag == 0)


def test_lag_is_one_close_late_and_drains_in_order():
    window = Window(SMALL, lag=1)
    got = []
    for step, mode in enumerate(["train", "eval", "train"]):
        window.observe(Rollout.matched, step)
        got.append(window.close(mode=mode, global_step=step))
    state = window.state_dict()
    got += window.drain()
    assert got[0] is None
    assert [(row.mode, row.global_step) for row in got[1:]] == [
        ("train", 0), ("eval", 1), ("train", 2),
    ]  # fmt: skip
    assert state["global_step"] == 2
    assert window.drain() == ()


def test_what_a_window_says_of_itself_is_of_the_payload_it_returned():
    window = Window(SMALL, lag=1)
    window.observe(Knobs.peak, float("nan"))
    window.close(mode="train", global_step=1)
    assert window.withheld == {}
    window.close(mode="train", global_step=2)
    assert window.withheld == {"knob/peak": 1}
    window.drain()
    assert window.withheld == {}


def test_steps_of_one_process_wait_for_the_close_but_not_all_of_them(monkeypatch):
    """A knob that changed between two of them has its latest value; both steps are counted."""
    monkeypatch.setattr(steps, "MANY", 3)
    window, most = Window(SMALL), 0
    for value in range(8):
        window.observe(Rollout.matched, 1)
        window.observe(Knobs.temperature, value)
        window.step()
        most = max(most, len(window._steps._waiting))
    payload = window.close(mode="train", global_step=8)
    assert most == 2
    assert payload.coverage["steps"] == 8
    assert payload.metrics["rollout/matched"] == 8
    assert payload.metrics[Knobs.temperature.key] == 7


def test_a_step_that_fails_costs_no_other(monkeypatch):
    """A device that is lost, say: what the other steps observed is still there."""
    window = Window(SMALL)
    for _ in range(3):
        window.observe(Rollout.matched, 1)
        window.step()

    def lost(metrics):
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(window._steps._waiting[0], "arrived", lost)
    with pytest.raises(RuntimeError, match="lost"):
        window.close(mode="train", global_step=1)
    payload = window.close(mode="train", global_step=2)
    assert (payload.metrics["rollout/matched"], payload.coverage["steps"]) == (2, 2)
