"""What a Stage-2 trainer says of its steps: atoms, diagnostics, channels, times, packs."""

import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, RemovedKeyError, UnknownKeyError
from coordexp_metrics.contract.check import Checker
from coordexp_metrics.contract.errors import DeclarationError, ObservationError
from coordexp_metrics.reducers import (
    CoordDiagnostics,
    LogitsReducer,
    ObjectiveAtoms,
    RolloutReducer,
    RolloutTimings,
    Stage2Telemetry,
)
from coordexp_metrics.rollouts import RolloutFacts
from coordexp_metrics.window import Window
from tests.reducers.cases import make

TEXT = {"struct_ce": 1.0, "desc_ce": 0.5}
BOX = ("bbox_smoothl1", "bbox_ciou")
COORD = (
    "coord_token_ce",
    "coord_soft_ce",
    "coord_w1",
    "coord_el1",
    "coord_ehuber",
    "coord_entropy",
    "coord_gate",
    "text_gate",
)
EVERY = {**TEXT, "A2_text/struct_ce": 0.1, **dict.fromkeys((*BOX, *COORD), 1.0)}


def window():
    return Window(CATALOGUE, group="local")


def closed(window):
    return window.close(mode="train", global_step=1).metrics


def test_there_are_25_atoms_13_of_them_in_channel_a():
    """Every atom of the contract, none twice, each in one channel."""
    atoms = ObjectiveAtoms(terms=EVERY)
    assert len(atoms.weights) == 25
    assert all(atoms.weights.values())
    channel_a, channel_b = atoms.active("A"), atoms.active("B")
    assert (len(channel_a), len(channel_b)) == (13, 12)
    assert not {*channel_a} & {*channel_b}
    assert all(key.startswith(("loss/A1_text", "loss/A2_")) for key in channel_a)


def test_the_effective_weight_is_module_times_term():
    """Either at zero is off; an atom's own term comes before the term everywhere."""
    atoms = ObjectiveAtoms(
        {"coord_reg": 0.5, "bbox_geo": 0.0},
        {"coord_w1": 2.0, "A2_coord/coord_w1": 3.0, "bbox_ciou": 1.0, "loss/B_coord/coord_el1": 4},
    )
    on = {key: weight for key, weight in atoms.weights.items() if weight}
    assert on == {
        "loss/A2_coord/coord_w1": 1.5,
        "loss/B_coord/coord_w1": 1.0,
        "loss/B_coord/coord_el1": 2.0,
    }


@pytest.mark.parametrize(
    ("module", "names"),
    [("token_ce", ("struct_ce", "desc_ce")), ("bbox_geo", BOX), ("coord_reg", COORD)],
)
def test_a_module_is_off_in_a_channel_it_does_not_run_in(module, names):
    """Off for the channel means absent there, and nowhere else."""
    only_b = ObjectiveAtoms(terms=EVERY, channels={module: "B"})
    off = {key for key, weight in only_b.weights.items() if not weight}
    of_module = {key for key in only_b.weights if key.rpartition("/")[2] in names}
    assert off == {key for key in of_module if key.startswith("loss/A")}
    only_a = ObjectiveAtoms(terms=EVERY, channels={module: "A"})
    assert {key for key, weight in only_a.weights.items() if not weight} == of_module - off


def test_one_iteration_has_no_self_context_text_and_keeps_its_coordinate_losses():
    """n_softctx_iter = 1: A2_text is absent and A2_coord present."""
    once = ObjectiveAtoms(terms=EVERY, n_softctx_iter=1).active("A")
    assert not [key for key in once if "A2_text" in key]
    assert len([key for key in once if "A2_coord" in key]) == 10
    assert "loss/A2_text/struct_ce" not in ObjectiveAtoms(terms=TEXT).active("A")


def test_rollout_aligned_training_has_the_atoms_of_its_rollout_pass():
    """Its single forward is a rollout-context forward."""
    aligned = ObjectiveAtoms(terms=EVERY, variant="stage2_rollout_aligned")
    assert aligned.active("A") == ()
    assert len(aligned.active("B")) == 12


def test_an_active_atom_without_tokens_is_zero_and_an_inactive_one_absent():
    """0.0 says that it was on; absence says that it was off."""
    atoms, seen = ObjectiveAtoms(terms={"bbox_ciou": 1.0, "desc_ce": 1.0}), window()
    atoms.observe(seen, "B", {"B_coord/bbox_ciou": torch.tensor(6.0)}, weight=4, loss=6.0)
    assert closed(seen) == {
        "loss": 1.5,
        "loss/B_rollout_text/desc_ce": 0.0,
        "loss/B_coord/bbox_ciou": 1.5,
    }


@settings(max_examples=40, deadline=None)
@given(data=st.data(), channel=st.sampled_from("AB"), as_means=st.booleans())
def test_the_atoms_add_up_to_the_loss_over_any_micro_batches(data, channel, as_means):
    """One population for all: the law of the catalogue is silent, though atoms lack tokens."""
    atoms, seen = ObjectiveAtoms(terms=EVERY), window()
    amounts = st.floats(-5, 5).map(lambda x: round(x, 3))
    total = weights = 0.0
    for _ in range(data.draw(st.integers(1, 4))):
        terms = data.draw(st.dictionaries(st.sampled_from(atoms.active(channel)), amounts))
        weight = data.draw(st.integers(1, 90))
        loss = sum(terms.values())
        atoms.observe(seen, channel, terms, weight=weight, loss=loss, as_means=as_means)
        total, weights = total + loss * (weight if as_means else 1), weights + weight
    metrics = closed(seen)
    assert metrics["loss"] == pytest.approx(total / weights, abs=1e-12)
    assert {key for key in metrics if key != "loss"} == {*atoms.active(channel)}
    assert Checker(CATALOGUE).check(metrics, "train") == []


def test_a_loss_with_a_term_that_is_no_atom_earns_a_hint():
    """The weak law speaks where something is missing from the atoms."""
    atoms, seen = ObjectiveAtoms(terms=EVERY), window()
    atoms.observe(seen, "B", {"B_coord/coord_w1": 3.0}, weight=2, loss=3.5)
    (hint,) = Checker(CATALOGUE).check(closed(seen), "train")
    assert hint.code == "law.weak"
    assert "atoms" in hint.message


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("B_coord/coord_w2", UnknownKeyError, "did you mean"),
        ("loss/A2_text/desc_ce", UnknownKeyError, "not in the catalogue"),
        ("token_ce_obj", RemovedKeyError, "use loss/A1_text/struct_ce"),
        ("loss/coord_reg_obj", RemovedKeyError, "loss/B_coord/coord_w1"),
        ("obj/B_coord/coord_w1", RemovedKeyError, "use loss/B_coord/coord_w1"),
        ("B_coord/geo", RemovedKeyError, "loss/B_coord/bbox_ciou"),
    ],
)
def test_unknown_and_removed_atoms_are_refused_with_what_to_use(name, error, said):
    """The error names the atom that is meant, or those that took its place."""
    with pytest.raises(error, match=said):
        ObjectiveAtoms(terms=EVERY).observe(window(), "B", {name: 1.0}, weight=1)


def test_an_atom_without_weight_is_left_out_and_counted_or_raises():
    """What takes no part in the loss is no part of the payload."""
    atoms, seen = ObjectiveAtoms(terms={"coord_w1": 1.0}), window()
    for _ in range(2):
        atoms.observe(seen, "B", {"B_coord/coord_el1": 3.0, "A2_coord/coord_w1": 1.0}, weight=1)
    assert closed(seen) == {"loss/B_coord/coord_w1": 0.0}
    assert atoms.inactive == {"loss/B_coord/coord_el1": 2, "loss/A2_coord/coord_w1": 2}
    careful = ObjectiveAtoms(terms={"coord_w1": 1.0}, strict=True)
    with pytest.raises(ObservationError, match="has no weight in Channel-B"):
        careful.observe(window(), "B", {"B_coord/coord_el1": 3.0}, weight=1)


def test_a_diverged_atom_shows():
    """What is in the loss is never withheld."""
    atoms, seen = ObjectiveAtoms(terms=EVERY), window()
    atoms.observe(seen, "B", {"B_coord/coord_w1": math.nan}, weight=1, loss=math.nan)
    payload = seen.close(mode="train", global_step=1)
    assert payload.nonfinite == {"loss": "nan", "loss/B_coord/coord_w1": "nan"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"modules": {"tokn_ce": 1.0}},
        {"modules": {"token_ce": math.inf}},
        {"terms": {"coord_w2": 1.0}},
        {"terms": {"A2_text/desc_ce": 1.0}},
        {"terms": {"coord_w1": "1"}},
        {"channels": {"token_ce": "C"}},
        {"channels": {"geo": "A"}},
        {"n_softctx_iter": 0},
        {"variant": "stage2"},
    ],
)
def test_settings_of_the_objective_that_cannot_be_right_are_refused(arguments):
    """When it is built, not in hour six."""
    with pytest.raises(DeclarationError):
        ObjectiveAtoms(**arguments)


@pytest.mark.parametrize("channel", ["C", "", None])
def test_there_are_two_channels(channel):
    """Everything that asks for a channel refuses another."""
    say = Stage2Telemetry(window(), atoms=ObjectiveAtoms())
    with pytest.raises(ObservationError, match="must be 'A' or 'B'"):
        say.objective(channel, {}, weight=1)
    with pytest.raises(ObservationError, match="must be 'A' or 'B'"):
        say.end_step(channel)
    with pytest.raises(ObservationError, match="must be 'A' or 'B'"):
        CoordDiagnostics(None).provenance(channel)


@pytest.mark.parametrize(
    ("iterations", "passes"),
    [(1, ["A1"]), (2, ["A1", "A2"]), (4, ["A1", None, None, "A2"])],
)
def test_a2_is_the_last_pass_of_several(iterations, passes):
    """With one iteration there is no A2; passes in between are not read."""
    diagnostics = CoordDiagnostics(None, n_softctx_iter=iterations)
    assert [diagnostics.provenance("A", i) for i in range(iterations)] == passes
    assert diagnostics.provenance("B") == "B"
    for beyond in (-1, iterations):
        with pytest.raises(ObservationError, match="iteration"):
            diagnostics.provenance("A", beyond)


def test_each_pass_is_read_under_its_provenance():
    """The keys that appear are those of the passes that were diagnosed."""
    case, seen = make(2, 9, 40, 5), window()
    say = Stage2Telemetry(
        seen, coord_diag=CoordDiagnostics(LogitsReducer(case.ids), n_softctx_iter=3)
    )
    for iteration in range(3):
        say.coord_diag(case.logits, case.labels, channel="A", iteration=iteration)
    tokens = {k: v for k, v in closed(seen).items() if k.endswith("coord_tokens_total")}
    one = tokens["coord_diag/A1/coord_tokens_total"]
    assert tokens == {
        "coord_diag/A1/coord_tokens_total": one,
        "coord_diag/A2/coord_tokens_total": one,
    }
    say.coord_diag(case.logits, case.labels, channel="B")
    assert {key.split("/")[1] for key in closed(seen)} == {"B"}


def test_without_a_weight_nothing_is_diagnosed():
    """Weight 0, and no module at all."""
    case, seen = make(2, 9, 40, 5), window()
    off = CoordDiagnostics(LogitsReducer(case.ids), weight=0.0)
    Stage2Telemetry(seen, coord_diag=off).coord_diag(case.logits, case.labels, channel="B")
    Stage2Telemetry(seen).coord_diag(case.logits, case.labels, channel="B")
    assert closed(seen) == {}
    for weight, iterations in ((math.nan, 1), (1.0, 0)):
        with pytest.raises(DeclarationError):
            CoordDiagnostics(None, weight, iterations)


class Ticks:
    """A clock that says what it is told."""

    def __init__(self, *times):
        self.times = list(times)
        self.waits = 0

    def __call__(self):
        return self.times.pop(0)

    def wait(self):
        self.waits += 1


def test_seconds_add_up_within_a_step_and_are_absent_from_the_next():
    """Two blocks of one kind; a Channel-A step has none, and no 0.0 either."""
    seen = window()
    timings = RolloutTimings(seen, clock=Ticks(0.0, 1.0, 5.0, 5.5, 6.0, 6.25, 7.0, 9.0))
    for block in (timings.generate, timings.generate, timings.parse_match, timings.teacher_encode):
        with block():
            pass
    assert closed(seen) == {
        "time/rollout_generate_s": 1.5,
        "time/rollout_parse_match_s": 0.25,
        "time/rollout_teacher_encode_s": 2.0,
    }
    assert closed(seen) == {}


def test_a_block_that_an_exception_ends_is_counted():
    """The exception passes, the seconds stay, and the next block starts afresh."""
    seen = window()
    timings = RolloutTimings(seen, clock=Ticks(0.0, 2.0, 10.0, 11.0))
    with pytest.raises(ZeroDivisionError), timings.generate():
        _ = 1 / 0
    with timings.generate():
        pass
    assert closed(seen) == {"time/rollout_generate_s": 3.0}


def test_a_block_within_its_kind_counts_once_and_within_another_for_both():
    """Wall clock in which at least one block of the kind is open."""
    seen = window()
    timings = RolloutTimings(seen, clock=Ticks(0.0, 1.0, 3.0, 4.0))
    with timings.generate(), timings.parse_match(), timings.generate():
        pass
    assert closed(seen) == {"time/rollout_generate_s": 4.0, "time/rollout_parse_match_s": 2.0}


def test_blocks_in_threads_count_the_time_that_any_is_open():
    """The union of the blocks, not their sum."""
    seen, second_open, first_closed = window(), threading.Event(), threading.Event()
    timings = RolloutTimings(seen, clock=Ticks(0.0, 7.0))

    def other():
        with timings.generate():
            second_open.set()
            first_closed.wait(10)

    thread = threading.Thread(target=other)
    with timings.generate():
        thread.start()
        assert second_open.wait(10)
    first_closed.set()
    thread.join()
    assert closed(seen) == {"time/rollout_generate_s": 7.0}


def test_a_device_is_waited_for_only_where_that_is_asked():
    """``synchronize`` is called before each reading of the clock."""
    ticks = Ticks(0.0, 1.0)
    with RolloutTimings(window(), ticks.wait, ticks).generate():
        assert ticks.waits == 1
    assert ticks.waits == 2


def test_a_real_clock_runs_forward():
    """Seconds, of perf_counter."""
    seen = window()
    with RolloutTimings(seen).generate():
        threading.Event().wait(0.02)
    assert 0.015 < closed(seen)["time/rollout_generate_s"] < 30


class Recent:
    """A schedule that keeps every step."""

    def __init__(self):
        self.steps = []

    def record(self, ran_b):
        self.steps.append(ran_b)
        return sum(self.steps), len(self.steps)


def test_the_realised_share_is_observed_once_a_step():
    """Channel-B steps over all steps of the schedule's window, whatever the micro-steps."""
    seen = window()
    say, shares = Stage2Telemetry(seen, schedule=Recent()), []
    for channel in "AABA":
        for _ in range(3):
            say.micro_step(samples=5)
        say.end_step(channel)
        metrics = closed(seen)
        assert metrics["stage2/channel_b"] == (channel == "B")
        assert (metrics["train/samples_total"], metrics["train/micro_steps"]) == (15, 3)
        shares.append(metrics["stage2_ab/b_ratio_realized"])
    assert shares == [0.0, 0.0, 1 / 3, 1 / 4]
    assert metrics["train/samples_seen"] == 60


def test_a_channel_a_step_says_nothing_of_rollouts():
    """No rollout key, no time, no counter of Channel-B."""
    seen = window()
    say = Stage2Telemetry(seen, atoms=ObjectiveAtoms(terms=EVERY))
    say.objective("A", {"A1_text/struct_ce": 1.0}, weight=2, loss=1.0)
    say.rollouts([])
    say.end_step("A")
    found = closed(seen)
    assert not [key for key in found if key.startswith(("rollout/", "time/", "stage2_ab/"))]
    assert "stage2/raw_rollouts" not in found
    say.rollouts([RolloutFacts(truncated=True)])
    say.end_step("B")
    found = closed(seen)
    assert (found["stage2/channel_b"], found["stage2/raw_rollouts"]) == (1, 1)


def test_rollout_aligned_training_has_no_channels():
    """The keys of the two-channel trainer are not its own."""
    seen = window()
    say = Stage2Telemetry(seen, RolloutReducer(), schedule=Recent())
    say.rollouts([RolloutFacts(matched=1, pred_objects=1, gt_objects=1)])
    say.end_step("B")
    assert not [key for key in closed(seen) if key.startswith("stage2")]


def test_packs_are_averaged_over_packs():
    """Fill, segments and buffer: means over packs, not over micro-steps."""
    seen = window()
    say = Stage2Telemetry(seen)
    say.pack(tokens=500, capacity=1000, segments=2, buffer=0)
    say.pack(tokens=1000, capacity=1000, segments=5, buffer=1)
    say.pack(tokens=0, capacity=10, segments=0, buffer=0)
    assert closed(seen) == {
        "packing/post_rollout_fill": 0.5,
        "packing/post_rollout_segments": 7 / 3,
        "packing/post_rollout_buffer": 1 / 3,
    }


@pytest.mark.parametrize(("tokens", "capacity"), [(11, 10), (-1, 10), (0, 0)])
def test_a_pack_that_cannot_be_is_refused(tokens, capacity):
    """More than it can hold, less than nothing, or no room at all."""
    with pytest.raises(ObservationError, match="tokens must be from 0 to the capacity"):
        Stage2Telemetry(window()).pack(tokens=tokens, capacity=capacity, segments=1, buffer=0)


def test_an_objective_needs_its_atoms():
    """Nobody said which there are."""
    with pytest.raises(DeclarationError, match="atoms must be given"):
        Stage2Telemetry(window()).objective("A", {}, weight=1)
