"""``emit`` never raises, drops the one bad value, counts it and names it."""

import math
import sys
import threading
from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import (
    CATALOGUE,
    MetricsRegistry,
    Payload,
    PayloadError,
    SchemaVersionError,
    SinkError,
)
from coordexp_metrics.contract.payload import MAX_KEYS, open_envelope
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.sinks.base import Sink
from tests.small import SMALL


def payload(metrics, mode="train", step=7, **more):
    return {
        "schema_version": 1,
        "mode": mode,
        "global_step": step,
        "metrics": metrics,
        **more,
    }


def found(registry):
    """The code of each breach, by key, that the registry's thread found as well."""
    return {example["key"]: example["code"] for example in registry.report()["examples"]}


@pytest.fixture
def memory():
    return MemorySink()


@pytest.fixture
def registry(memory):
    with MetricsRegistry(sinks=[memory], on_violation="count") as registry:
        yield registry
    report = registry.report()
    assert report["received"] == report["accepted"] + sum(report["rejected"].values())
    for sink in report["sinks"]:
        dropped = sum(sink["dropped"].values())
        assert sink["accepted"] == sink["delivered"] + sink["pending"] + dropped
        assert sink["accepted"] == report["accepted"]


class One(IntEnum):
    """Equal to 1, and no int."""

    ONE = 1


class Str(str):
    """Equal to a str, and hostile."""

    __slots__ = ()

    def __eq__(self, other):
        raise AssertionError("never called")

    __hash__ = str.__hash__


VERSIONS = ["1", True, 1.0, None, np.int64(1), Decimal(1), One.ONE]
ENVELOPES = [
    ("P01", {"mode": "train", "global_step": 7, "metrics": {}}, "schema_version.missing"),
    *(("P02", payload({}) | {"schema_version": v}, "schema_version.type") for v in VERSIONS),
    *(
        ("P03", payload({}) | {"schema_version": v}, "schema_version.unsupported")
        for v in (0, -1, 2, 2**70)
    ),
    *(
        ("P04", payload({}, mode=mode), "mode.value")
        for mode in ("Train", "test", b"train", None, [], np.array(["train"]), Str("train"))
    ),
    *(("P05", payload({}, step=step), "global_step.range") for step in (-1, 2**63, 2**70)),
    *(
        ("P05", payload({}, step=step), "global_step.type")
        for step in (1.0, True, "7", None, np.int64(7), torch.tensor(7))
    ),
    *(("P06", whole, "payload.type") for whole in ([], None, iter(()), "x", 3)),
    ("P07", {"schema_version": 1, "mode": "train", "global_step": 7}, "metrics.missing"),
    *(("P07", payload(metrics), "metrics.type") for metrics in (None, [("loss", 1)], "x")),
    ("P10", payload({f"k{i}": 1.0 for i in range(MAX_KEYS + 1)}), "metrics.too_many"),
    ("V01", payload({}, nonfinite={"loss": "NaN"}), "nonfinite.value"),
]


@pytest.mark.parametrize(
    ("fault", "bad", "code"),
    ENVELOPES,
    ids=[f"{f}-{c}-{i}" for i, (f, _, c) in enumerate(ENVELOPES)],
)
def test_bad_envelopes_are_rejected_whole(registry, memory, fault, bad, code):
    report = registry.emit(bad)
    assert report.accepted == 0
    assert code in report.dropped.values()
    assert code in {violation.code for violation in report.violations}
    assert memory.records == []
    assert registry.report()["rejected"] == {code: 1}
    with pytest.raises(PayloadError) as caught:
        Payload.parse(bad)
    assert code in {problem.code for problem in caught.value.problems}
    with pytest.raises(PayloadError), MetricsRegistry(on_violation="raise") as strict:
        strict.emit(bad)


@pytest.mark.parametrize("found", [None, 2, "1"])
def test_a_version_error_names_what_was_found_and_what_is_read(found):
    with pytest.raises(SchemaVersionError) as caught:
        Payload.parse(payload({}) | {"schema_version": found})
    assert caught.value.found == found
    assert caught.value.supported == (1,)
    assert "schema_version" in str(caught.value)


def test_P08_unknown_sections_are_kept_and_reported_and_strict_refuses_them(registry, memory):
    report = registry.emit(payload({"loss": 1.0}, note={"a": 1}))
    assert [violation.code for violation in report.violations] == ["section.unknown"]
    assert memory.records[0].extra == {"note": {"a": 1}}
    assert Payload.parse(payload({}, note=1)).extra == {"note": 1}
    with pytest.raises(PayloadError):
        Payload.parse(payload({}, note=1), strict=True)


class Hostile(Mapping):
    """A mapping whose methods fail, or never end."""

    def __init__(self, error=None):
        self.error = error

    def __getitem__(self, key):
        return 1.0

    def __len__(self):
        return 3

    def __iter__(self):
        if self.error:
            raise self.error("boom")
        while True:
            yield "loss"


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, MemoryError, None])
@pytest.mark.timeout(10)
def test_P09_hostile_mappings_are_contained(registry, error):
    registry.emit(payload(Hostile(error)))
    registry.emit(Hostile(error))
    assert registry.emit(payload({"loss": 1.0})).accepted == 1


def test_P10_a_million_keys_are_refused_without_a_copy(registry):
    million = dict.fromkeys(map(str, range(10**6)), 1.0)
    report = registry.emit(payload(million))
    assert report.dropped == {"metrics": "metrics.too_many"}
    assert "1000000" in report.violations[0].message


def test_P11_nesting_is_refused_by_key(registry, memory):
    deep = {}
    deep["loss"] = deep
    report = registry.emit(payload({"a": deep, "loss": 1.0}))
    assert report.dropped == {"a": "value.type"}
    assert memory.records[0].metrics == {"loss": 1.0}


def test_P12_the_same_step_twice_is_kept_twice(registry, memory):
    for value in (1.0, 2.0):
        registry.emit(payload({"loss": value}))
    assert [(r.seq, r.metrics["loss"]) for r in memory.records] == [(0, 1.0), (1, 2.0)]


def test_P13_emit_after_close_is_counted(memory):
    registry = MetricsRegistry(sinks=[memory])
    registry.close()
    registry.close()
    assert registry.emit(payload({"loss": 1.0})).dropped == {"emit": "closed"}
    assert registry.report()["rejected"] == {"closed": 1}
    assert memory.records == []


def test_V01_nan_and_infinities_go_beside_the_metrics(registry, memory):
    values = {"loss": math.nan, "grad_norm": math.inf, "learning_rate": 1e-5, "epoch": -math.inf}
    report = registry.emit(payload(values))
    (record,) = memory.records
    assert record.metrics == {"learning_rate": 1e-5}
    assert record.nonfinite == {"loss": "nan", "grad_norm": "inf", "epoch": "-inf"}
    assert report.accepted == 4
    assert record.health["contract/nonfinite_total"] == 3


def test_V04_one_bad_value_among_sixty_costs_only_itself(registry, memory):
    good = {f"user/k{i}": float(i) for i in range(59)}
    report = registry.emit(payload({**good, "loss": "1.0"}))
    assert report.dropped == {"loss": "value.type"}
    assert len(memory.records[0].metrics) == report.accepted == 59


def test_V02_V05_V06_V07_scalars_are_converted_and_others_named(registry, memory):
    report = registry.emit(
        payload(
            {
                "loss": torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True),
                "grad_norm": np.float32(0.25),
                "learning_rate": np.array(0.125),
                "token_count": torch.tensor(12),
                "epoch": True,
                "token_acc": torch.ones(1),
                "coord_diag/loss": 10**400,
            }
        )
    )
    assert memory.records[0].metrics == {
        "loss": 0.5, "grad_norm": 0.25, "learning_rate": 0.125, "token_count": 12,
    }  # fmt: skip
    assert report.dropped == {
        "epoch": "value.bool",
        "token_acc": "value.shape",
        "coord_diag/loss": "value.overflow",
    }


def test_V12_a_value_out_of_bounds_is_delivered_and_flagged(registry, memory):
    registry.emit(payload({"token_acc": 1.2, "token_count": 1.5, "pack/num_samples": -1}))
    assert found(registry) == {
        "token_acc": "out_of_range",
        "token_count": "not_whole",
        "pack/num_samples": "out_of_range",
    }
    assert len(memory.records[0].metrics) == 3
    assert memory.records[0].health["contract/out_of_range_total"] == 2


def test_a_float32_sum_just_above_one_is_no_violation(registry):
    registry.emit(payload({"token_acc": 1.0000001}))
    assert found(registry) == {}


@pytest.mark.parametrize(
    "key", [1, None, b"loss", ("a",), "", "a//b", "loss\n", "../x", "x" * 10**6]
)
def test_K01_to_K06_hostile_keys_cost_only_themselves(registry, memory, key):
    report = registry.emit(payload({key: 1.0, "loss": 2.0}))
    assert memory.records[0].metrics == {"loss": 2.0}
    assert [code.partition(".")[0] for code in report.dropped.values()] == ["key"]
    assert sum(map(len, report.dropped)) < 200


@pytest.mark.parametrize("rest", [1, 40])
def test_K01_a_key_of_a_str_subclass_is_refused_however_well_its_like_is_known(
    registry, memory, rest
):
    """Equal keys that were seen before, from dicts made in several ways, let nothing through."""
    good = {f"my/k{i}": float(i) for i in range(rest)} | {"loss": 1.0}

    class Key(str):
        __slots__ = ()

    for _ in range(3):
        registry.emit(payload(dict(good)))
        registry.emit(payload({**good}))
    bad = {Key(key) if key == "loss" else key: value for key, value in good.items()}
    grown = dict(good)
    grown[Key("loss2")] = 1.0
    for form in bad, dict(bad), {**bad}, bad | {}:
        assert registry.emit(payload(form)).dropped == {"'loss'": "key.type"}
    assert registry.emit(payload(grown)).dropped == {"'loss2'": "key.type"}


def test_K06_a_hundred_thousand_bad_keys_leave_no_trace(registry):
    for start in range(0, 10**5, 1000):
        registry.emit(payload({f"bad key {i}": 1.0 for i in range(start, start + 1000)}))
    assert len(registry.report()["examples"]) <= 1001


def test_K07_an_unknown_key_is_delivered_and_counted(registry, memory):
    report = registry.emit(payload({"coord_diag/acc_topp5": 0.5}))
    assert report.accepted == 1
    assert report.violations[0].code == "unregistered"
    assert "coord_diag/acc_top5" in report.violations[0].message
    assert memory.records[0].metrics == {"coord_diag/acc_topp5": 0.5}


def test_carried_keys_are_the_users_business():
    with MetricsRegistry(sinks=[memory := MemorySink()], carry=["my/*"]) as registry:
        assert registry.emit(payload({"my/depth": 1.0}, mode="eval")).violations == ()
    assert memory.records[0].metrics == {"eval_my/depth": 1.0}


def test_K08_two_spellings_of_one_key_never_overwrite_each_other(registry, memory):
    report = registry.emit(payload({"eval_loss": 2.0, "loss": 1.0}, mode="eval"))
    (record,) = memory.records
    assert record.metrics == {"eval_loss": 2.0}
    assert record.extra == {"doubles": {"loss": 1.0}}
    assert [violation.code for violation in report.violations] == ["collision"]
    assert record.health["contract/key_collision_total"] == 1
    assert report.accepted == 1


def test_K08_equal_spellings_are_one(registry, memory):
    report = registry.emit(payload({"eval_loss": 1.0, "loss": 1.0}, mode="eval"))
    assert report.violations == ()
    assert memory.records[0].metrics == {"eval_loss": 1.0}


def test_K09_internal_keys_never_leave(registry, memory):
    report = registry.emit(payload({"loss": 1.0, "rollout/_samples": 3, "_step": 1}))
    assert memory.records[0].metrics == {"loss": 1.0}
    assert report.dropped == {"rollout/_samples": "key.internal", "_step": "key.internal"}


def test_K10_an_alias_is_taken_under_the_canonical_name(registry, memory):
    registry.emit(payload({"desc_token_entropy": 0.5}))
    assert memory.records[0].metrics == {"desc_entropy": 0.5}


def test_removed_keys_are_dropped_with_their_replacement(registry, memory):
    report = registry.emit(payload({"loss/token_ce_obj": 1.0, "obj/B_coord/bbox_ciou": 1.0}))
    assert memory.records[0].metrics == {}
    assert set(report.dropped.values()) == {"key.removed"}
    assert "loss/B_coord/bbox_ciou" in report.violations[1].message


def test_the_name_for_the_mode_is_put_on_once(registry, memory):
    names = {"coord_diag/loss": 1.0, "eval_rollout/f1": 0.5, "rollout/mAP": 0.25, "loss": 2.0}
    report = registry.emit(payload(names, mode="eval", dataset="coco"))
    (record,) = memory.records
    assert (record.mode, record.global_step, record.dataset) == ("eval", 7, "coco")
    assert record.metrics == {
        "eval_coord_diag/loss": 1.0,
        "eval_coord_softce_w1/loss": 1.0,
        "eval_rollout/f1": 0.5,
        "eval_rollout/mAP": 0.25,
        "eval_loss": 2.0,
    }
    assert report.violations == ()


def test_train_totals_take_their_documented_names_in_evaluation(registry, memory):
    totals = {
        "rollout/gt_objects_total": 8,
        "rollout/valid_pred_objects_total": 6,
        "rollout/matched_for_supervision": 3,
        "rollout/precision": 0.5,
        "rollout/recall": 0.375,
    }
    assert registry.emit(payload(totals, mode="eval")).violations == ()
    assert found(registry) == {}
    assert memory.records[0].metrics == {
        "eval_rollout/gt_objects": 8,
        "eval_rollout/pred_objects": 6,
        "eval_rollout/matched": 3,
        "eval_rollout/precision": 0.5,
        "eval_rollout/recall": 0.375,
    }


def test_suppressed_keys_are_dropped_without_blame(registry, memory):
    report = registry.emit(payload({"rollout/bbox_AP50": 1.0, "eval_rollout/segm_AP": 1.0}, "eval"))
    assert memory.records[0].metrics == {}
    assert set(report.dropped.values()) == {"key.suppressed"}
    assert report.violations == ()


@pytest.mark.parametrize(
    ("key", "mode"),
    [("train/samples_total", "eval"), ("eval_loss", "train"), ("time/rollout_generate_s", "eval")],
)
def test_a_key_in_the_wrong_mode_is_said(registry, key, mode):
    assert [v.code for v in registry.emit(payload({key: 1.0}, mode)).violations] == ["wrong_mode"]


def test_aliases_of_the_contract_are_logged_too_unless_switched_off(memory):
    terms = {"coord_diag/soft_ce": 1.5, "coord_diag/w1": 0.25}
    for aliases in ("contract", "none"):
        with MetricsRegistry(sinks=[memory], aliases=aliases) as registry:
            registry.emit(payload({**terms, "coord_diag/enabled": 1}))
            registry.emit(payload({**terms, "coord_diag/enabled": 0}))
    logged = ["coord_softce_w1/soft_ce" in record.metrics for record in memory.records]
    assert logged == [True, False, False, False]
    assert memory.records[0].metrics["coord_softce_w1/w1"] == 0.25


def test_an_alias_that_contradicts_its_key_is_a_finding(registry):
    report = registry.emit(payload({"coord_softce_w1/loss": 1.0, "coord_diag/loss": 2.0}))
    assert [violation.code for violation in report.violations] == ["collision"]


BROKEN = [
    {"rollout/parse_obj_total": 5, "rollout/valid_pred_objects_total": 3,
     "rollout/parse_dropped_invalid": 1, "rollout/parse_dropped_ambiguous": 0},
    {"rollout/precision": 0.5, "rollout/matched_for_supervision": 3,
     "rollout/valid_pred_objects_total": 4},
    {"token_acc": 0.9, "token_acc_top5": 0.8},
    {"coord_diag/w1_to_delta": 3.0, "coord_diag/expected_bin_mae": 4.0},
    {"rollout/gen_new_tokens_p90": 10, "rollout/gen_new_tokens_p99": 9},
]  # fmt: skip


@pytest.mark.parametrize("metrics", BROKEN)
def test_broken_laws_are_delivered_and_named(registry, memory, metrics):
    registry.emit(payload(metrics))
    assert "law" in found(registry).values()
    assert memory.records[0].metrics == metrics
    with pytest.raises(PayloadError):
        MetricsRegistry(on_violation="raise").emit(payload(metrics))


def test_weak_laws_hint_and_do_not_raise(registry):
    metrics = {"loss": 2.0, "loss/B_coord/bbox_ciou": 1.0}
    registry.emit(payload(metrics))
    assert registry.report()["violations"] == {"law.weak": 1}
    assert MetricsRegistry(on_violation="raise").emit(payload(metrics)).accepted == 2


def test_parameters_let_weighted_sums_be_checked():
    terms = {"coord_diag/soft_ce": 1.0, "coord_diag/w1": 0.5, "coord_diag/ce": 2.0}
    metrics = {**terms, "coord_diag/gate": 0.25, "coord_diag/loss": 1.75}
    weights = {"soft_ce_weight": 1.0, "w1_weight": 1.0, "ce_weight": 0.0, "gate_weight": 1.0}
    strict = {"on_violation": "raise", "sinks": [MemorySink()]}
    MetricsRegistry(**strict).emit(payload(metrics))
    MetricsRegistry(**strict, parameters=weights).emit(payload(metrics))
    with pytest.raises(PayloadError, match="coord_diag/loss"):
        MetricsRegistry(**strict, parameters=weights | {"ce_weight": 1.0}).emit(payload(metrics))


def test_samples_seen_must_grow_by_samples_total(registry):
    counted = []
    for step, seen in [(1, 4), (2, 8), (3, 11), (2, 4)]:
        registry.emit(payload({"train/samples_total": 4, "train/samples_seen": seen}, step=step))
        counted.append(registry.report()["violations"].get("law", 0))
    assert counted == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", [dict, lambda d: Payload(mode="train", global_step=7, metrics=d)])
def test_L01_what_was_emitted_does_not_change_afterwards(registry, memory, kind):
    values = {"loss": torch.tensor(1.0), "grad_norm": np.array(2.0)}
    given_payload = kind(values) if kind is not dict else payload(values)
    registry.emit(given_payload)
    values["loss"].add_(41)
    values["grad_norm"][...] = 9
    values["epoch"] = 1
    assert memory.records[0].metrics == {"loss": 1.0, "grad_norm": 2.0}


class Failing(Sink):
    """Fails at every write."""

    def __init__(self, error):
        self.error = error

    def write(self, record):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), RecursionError(), MemoryError()])
def test_S01_a_failing_sink_costs_no_other_sink_a_record(error):
    sinks = [Failing(error), memory := MemorySink()]
    with MetricsRegistry(sinks=sinks) as registry:
        for step in range(3):
            assert registry.emit(payload({"loss": 1.0}, step=step)).accepted == 1
    failing, healthy = registry.report()["sinks"]
    assert failing["dropped"] == {type(error).__name__: 3}
    assert healthy["delivered"] == len(memory.records) == 3


def test_a_sink_that_cannot_open_says_so_before_step_0():
    class Closed(Sink):
        def open(self, header):
            raise SinkError("no disk", sink="closed")

    with pytest.raises(SinkError, match="no disk"):
        MetricsRegistry(sinks=[MemorySink(), Closed()])


def test_L04_a_sink_that_emits_is_refused():
    class Echo(Sink):
        def write(self, record):
            reports.append(registry.emit(payload({"loss": 2.0})))

    reports = []
    with MetricsRegistry(sinks=[Echo()], on_violation="count") as registry:
        registry.emit(payload({"loss": 1.0}))
    assert [report.dropped for report in reports] == [{"emit": "emit.reentrant"}]
    assert registry.report()["rejected"] == {"emit.reentrant": 1}


def test_threads_lose_nothing(memory):
    registry = MetricsRegistry(sinks=[memory], on_violation="count")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(
                target=lambda n=n: [registry.emit(payload({"loss": n}, step=i)) for i in range(500)]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(memory.records) == registry.report()["accepted"] == 4000
    assert sorted(record.seq for record in memory.records) == list(range(4000))


def test_warnings_come_at_1_10_100(caplog):
    registry = MetricsRegistry()
    for step in range(120):
        registry.emit(payload({"rolout/f1": 0.5}, step=step))
    assert [r.message.rpartition("(")[2] for r in caplog.records] == [
        "1 so far)", "10 so far)", "100 so far)",
    ]  # fmt: skip


def test_a_registry_over_a_users_catalogue():
    with MetricsRegistry(sinks=[memory := MemorySink()], catalogue=SMALL) as registry:
        assert registry.emit(payload({"diag/B/p_gt_mean": 0.5})).violations == ()
    assert memory.records[0].metrics == {"diag/B/p_gt_mean": 0.5}


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary()
KEYS = list(CATALOGUE)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "schema_version": st.just(1) | JUNK,
        "mode": st.sampled_from(["train", "eval"]) | JUNK,
        "global_step": st.integers(-1, 2**64) | JUNK,
        "metrics": st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), JUNK) | JUNK,
        "nonfinite": st.dictionaries(st.just("loss"), st.sampled_from(["nan", "x"])) | JUNK,
        "dataset": JUNK,
        "coverage": JUNK | st.dictionaries(st.text(max_size=2), JUNK),
    },
)  # fmt: skip


@settings(deadline=None)
@given(SECTIONS | JUNK)
def test_both_doors_take_the_same_envelopes(whole):
    """``open_envelope`` and ``Payload.parse`` differ in values only, which emit drops singly."""
    envelope, problems = open_envelope(whole)
    try:
        Payload.parse(whole)
    except PayloadError as error:
        codes = {p.code for p in error.problems if not p.path.startswith("metrics[")}
        assert codes == {problem.code for problem in problems}
    else:
        assert envelope is not None


@settings(deadline=None)
@given(SECTIONS | JUNK)
def test_emit_never_raises(whole):
    registry = MetricsRegistry(sinks=[memory := MemorySink()], on_violation="count")
    registry.emit(whole)
    assert registry.report()["received"] == 1
    for record in memory.records:
        assert all(map(math.isfinite, record.metrics.values()))
