"""A loss that never holds all logits gets the numbers of one that does."""

import gc
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, DeclarationError, ObservationError
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.window import Window
from tests.reducers.cases import cases, make
from tests.reducers.test_faults import BROKEN, DROPPED, OUT_OF_RANGE, types_that_do_not_fit
from tests.reducers.test_footprint import Operations, one_thread, resident
from tests.reducers.test_window_laws import assert_same

__all__ = ["one_thread"]

MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FROM_ALL_LOGITS = ("_acc", "_acc_top5", "_entropy")


def window():
    return Window(CATALOGUE, group="local")


def closed(one):
    return one.close(mode="train", global_step=1)


def whole(case, typed=True, provenance=None, samples=None, **options):
    """What ``observe`` makes of the same micro-batch."""
    one, types = window(), case.types if typed else None
    reducer = LogitsReducer(case.ids, **options)
    reducer.observe(one, case.logits, case.labels, types, samples, provenance)
    return closed(one)


def rows_of(case, without_last=False):
    """Rows ``[n, V]`` with their aligned labels and types, as a fused loss holds them."""
    if without_last:
        logits, labels = case.logits[:, :-1], case.labels[:, 1:]
        return logits.flatten(0, 1), labels.flatten(), case.types[:, 1:].flatten()
    last = case.labels.new_full((len(case.labels), 1), -100)[:, : case.labels.shape[1]]
    labels = torch.cat([case.labels[:, 1:], last], 1).flatten()
    types = torch.cat([case.types[:, 1:], last], 1).flatten()
    return case.logits.flatten(0, 1), labels, types


def cut(rows, cuts):
    bounds = [0, *sorted(c for c in cuts if c <= rows), rows]
    return [slice(a, b) for a, b in pairwise(bounds)]


def streamed(case, cuts, typed="chunks", provenance=None, without_last=False, **options):
    reducer, one = LogitsReducer(case.ids, **options), window()
    logits, labels, types = rows_of(case, without_last)
    for piece in cut(len(labels), cuts):
        chunk_types = types[piece] if typed == "chunks" else None
        reducer.update(logits[piece], labels[piece], chunk_types)
    late = case.types if typed == "flush" else None
    reducer.flush(one, late, len(case.labels), provenance)
    assert reducer.pending_rows is None
    return closed(one)


@MANY
@given(
    case=cases(),
    cuts=st.lists(st.integers(0, 21), max_size=5),
    typed=st.sampled_from(["chunks", "flush", "no"]),
    provenance=st.sampled_from([None, "A2"]),
    without_last=st.booleans(),
    options=st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([1.0, 0.7]),
            "coord_monitor_mass_max_tokens": st.sampled_from([0, 2, 3]),
            "log_top5": st.booleans(),
        }
    ),
)
def test_any_cut_into_chunks(case, cuts, typed, provenance, without_last, options, place):
    """Counts are the same and means are the same to float64, whoever cut and wherever."""
    expected = whole(case, typed != "no", provenance, **options)
    assert_same(streamed(case, cuts, typed, provenance, without_last, **options), expected)


@pytest.mark.parametrize("kind", BROKEN)
def test_rows_that_are_not_finite_stay_what_they_are(kind, place):
    case = make(3, 12, 90, 20, supervised=1.0, coord=0.5)
    for b, s in ((0, 4), (1, 2), (2, 9)):
        BROKEN[kind](case.logits[b, s])
    assert_same(streamed(case, [5, 6, 30]), whole(case))


def test_labels_out_of_range_are_masked_and_counted_over_all_chunks(place):
    case = make(2, 10, 90, 20, supervised=1.0)
    case.labels[0, 3] = case.labels[1, 7] = 90
    found = streamed(case, [7])
    assert found.metrics[OUT_OF_RANGE] == 2
    assert_same(found, whole(case))


@pytest.mark.parametrize("why", ["unknown id", "shifted"])
def test_types_are_dropped_for_the_micro_batch_and_counted_once(why, place):
    """Whether types are shifted is a question to all of them, not to a chunk."""
    case = make(2, 40, 90, 20, supervised=1.0, coord=0.4)
    case.types = types_that_do_not_fit(case)[why]
    found = streamed(case, [11, 30, 60])
    assert found.metrics[DROPPED] == 1
    assert_same(found, whole(case))


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("instead", [None, "another length", "another kind"])
def test_types_of_some_chunks_alone_are_dropped_and_counted_once(missing, instead, place):
    case = make(1, 30, 90, 20, supervised=1.0)
    logits, labels, types = rows_of(case)
    reducer, one = LogitsReducer(case.ids), window()
    for i, piece in enumerate(cut(30, [10, 20])):
        wrong = {None: None, "another length": types[:3], "another kind": types[piece].float()}
        chunk_types = wrong[instead] if i == missing else types[piece]
        reducer.update(logits[piece], labels[piece], chunk_types)
    reducer.flush(one, num_samples=1)
    found, expected = closed(one).metrics, whole(case, typed=False).metrics
    assert found == pytest.approx({**expected, DROPPED: 1}, rel=1e-12)


def test_types_that_come_with_the_flush_must_fit_the_rows_that_came(place):
    """A loss that left rows out cannot have its types by their place, also where no type tells."""
    case = make(1, 20, 90, 20, supervised=1.0, coord=0.0)
    case.types = torch.ones_like(case.types)
    logits, labels, _ = rows_of(case)
    reducer, one = LogitsReducer(case.ids), window()
    reducer.update(logits[3:], labels[3:])
    reducer.flush(one, case.types)
    found = closed(one).metrics
    assert found[DROPPED] == 1
    assert "desc_token_acc" not in found
    assert found["token_count"] > 0


def test_types_of_the_chunks_come_first(place):
    case = make(1, 20, 90, 20, supervised=1.0)
    logits, labels, types = rows_of(case)
    reducer, one = LogitsReducer(case.ids), window()
    reducer.update(logits, labels, types)
    reducer.flush(one, torch.full_like(case.types, 77), num_samples=1)
    assert_same(closed(one), whole(case))


def test_rows_do_not_say_how_many_samples_they_are():
    """Nothing per sample without the number of samples, and nothing else is missing."""
    case = make(2, 20, 90, 20)
    reducer, one = LogitsReducer(case.ids), window()
    reducer.update(*rows_of(case))
    reducer.flush(one)
    found, expected = closed(one).metrics, whole(case).metrics
    gone = {key for key in expected if "per_sample" in key or "num_samples" in key}
    assert len(gone) >= 4
    assert found.keys() == expected.keys() - gone


@pytest.mark.parametrize("without_last", [True, False])
def test_only_the_first_rows_count(without_last, place):
    """What pads the last batch of a set is in no sum, and its types decide nothing."""
    case = make(3, 12, 90, 20)
    logits, labels, _ = rows_of(case, without_last)
    case.types[2] = 77
    reducer, one = LogitsReducer(case.ids), window()
    for piece in cut(len(labels), [5, 17]):
        reducer.update(logits[piece], labels[piece])
    reducer.flush(one, case.types, num_samples=2, first_rows=2 * len(labels) // 3)
    case.logits, case.labels, case.types = case.logits[:2], case.labels[:2], case.types[:2]
    assert_same(closed(one), whole(case))


def test_micro_batches_follow_each_other(place):
    """Every flush is one micro-batch: what is sampled or dropped is so by micro-batch."""
    one, other = window(), window()
    many = [make(2, 9, 90, 20, seed=seed) for seed in range(3)]
    reducer = LogitsReducer(many[0].ids, coord_monitor_mass_max_tokens=3)
    many[1].types = torch.full_like(many[1].types, 9)
    for case in many:
        reducer.observe(one, case.logits, case.labels, case.types)
        for row in zip(*rows_of(case), strict=True):
            reducer.update(*(part[None] for part in row))
        reducer.flush(other, num_samples=2)
    assert_same(closed(other), closed(one))


def test_an_interrupted_micro_batch_leaves_nothing_to_the_next():
    case = make(2, 20, 90, 20)
    logits, labels, types = rows_of(case)
    reducer, one = LogitsReducer(case.ids), window()
    reducer.update(logits[:7], labels[:7])
    assert (reducer.discard(), reducer.pending_rows, reducer.discard()) == (7, None, 0)
    reducer.update(logits, labels, types)
    reducer.flush(one, num_samples=2)
    assert_same(closed(one), whole(case))


def test_a_flush_that_fails_leaves_nothing_to_the_next():
    case = make(2, 20, 90, 20)
    reducer = LogitsReducer(case.ids)
    reducer.update(*rows_of(case))
    with pytest.raises(ValueError, match="A9"):
        reducer.flush(window(), provenance="A9")
    assert reducer.pending_rows is None
    with pytest.raises(ObservationError, match="nothing was updated since the last flush"):
        reducer.flush(window())


def test_a_micro_batch_without_supervised_rows_is_one_all_the_same(place):
    case = make(2, 9, 90, 20, supervised=0.0)
    assert_same(streamed(case, [4]), whole(case))
    empty = make(0, 5, 90, 20)
    assert_same(streamed(empty, []), whole(empty))


@pytest.mark.parametrize(
    ("logits", "labels", "argument", "says"),
    [
        (torch.zeros(1, 2, 9), torch.zeros(1, 2).long(), "logits_chunk", "go to observe"),
        (torch.zeros(9), torch.zeros(1).long(), "logits_chunk", r"\[n, V\]"),
        (torch.zeros(2, 0), torch.zeros(2).long(), "logits_chunk", r"\[n, V\]"),
        (torch.zeros(2, 9).long(), torch.zeros(2).long(), "logits_chunk", "floating"),
        (None, torch.zeros(2).long(), "logits_chunk", "floating"),
        (torch.zeros(2, 9), torch.zeros(3).long(), "labels_chunk", r"\(2,\)"),
        (torch.zeros(2, 9), torch.zeros(1, 2).long(), "labels_chunk", r"\(2,\)"),
        (torch.zeros(2, 9), torch.zeros(2), "labels_chunk", "integers"),
        (torch.zeros(2, 9), None, "labels_chunk", r"integers \[n\]"),
        (torch.zeros(2, 10), torch.zeros(2).long(), "logits_chunk", "vocabulary and device"),
    ],
)
def test_a_chunk_that_cannot_be_read_is_an_error_that_says_what(logits, labels, argument, says):
    """And the chunks before it stay as they were."""
    reducer, one = LogitsReducer([0]), window()
    reducer.update(torch.zeros(1, 9), torch.zeros(1).long())
    with pytest.raises(ObservationError, match=says) as error:
        reducer.update(logits, labels)
    assert error.value.argument == argument
    assert reducer.pending_rows == 1
    reducer.flush(one)
    assert closed(one).metrics["token_count"] == 1


def test_a_vocabulary_without_the_coordinates_is_refused():
    with pytest.raises(DeclarationError, match="lie outside the vocabulary"):
        LogitsReducer([9]).update(torch.zeros(1, 9), torch.zeros(1).long())


def test_a_chunk_may_be_overwritten_as_soon_as_it_was_read(place):
    """A fused loss turns its logits into their gradient, in place."""
    case = make(2, 20, 90, 20)
    reducer, one = LogitsReducer(case.ids), window()
    logits, labels, types = (part.clone() for part in rows_of(case))
    reducer.update(logits, labels, types)
    for part in (logits, labels, types):
        part.zero_()
    reducer.flush(one, num_samples=2)
    assert_same(closed(one), whole(case))


def tensors_of(pending):
    """Everything that is kept until the flush."""
    for chunk in pending._chunks:
        yield chunk.out_of_range
        yield from (t for t in vars(chunk.positions).values() if t is not None)
        for column in vars(chunk.statistics).values():
            yield from column if isinstance(column, tuple) else [column]


@pytest.mark.parametrize("leave_grad", [True, False])
def test_what_is_kept_is_150_bytes_a_row_and_no_graph(leave_grad, place):
    case = make(2, 200, 3000, 50, supervised=1.0)
    logits, labels, types = rows_of(case)
    reducer = LogitsReducer(case.ids)
    reducer.update(logits.requires_grad_(leave_grad), labels, types)
    kept = list(tensors_of(reducer._pending))
    assert len(kept) >= 20
    assert sum(t.untyped_storage().nbytes() for t in kept) <= 150 * len(labels)
    assert not any(t.requires_grad for t in kept)


def test_a_gradient_is_bit_equal_with_and_without_updates(place):
    def gradients(reducer):
        case = make(2, 12, 300, 30)
        torch.manual_seed(0)
        hidden = torch.randn(24, 16, requires_grad=True)
        head = torch.randn(16, 300, requires_grad=True)
        logits = hidden @ head
        labels = rows_of(case)[1]
        if reducer:
            LogitsReducer(case.ids).update(logits, labels)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        return hidden.grad, head.grad

    for one, other in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("way", ["update", "from_hidden", "from_log_sum_exp"])
def test_nothing_waits_for_the_device(way, place, one_thread):
    case = make(2, 12, 600, 30, layout="scattered")
    reducer, one = LogitsReducer(case.ids, temperature=0.9), window()
    logits, labels, types = rows_of(case)
    with Operations() as operations:
        if way == "update":
            reducer.update(logits[:9], labels[:9])
            reducer.update(logits[9:], labels[9:])
            reducer.flush(one, case.types, 2, first_rows=20)
        elif way == "from_hidden":
            hidden = torch.ones(2, 12, 8)
            reducer.from_hidden(one, hidden, torch.ones(600, 8), case.labels, case.types)
        else:
            lse, coords = logits.logsumexp(1), logits[:, case.ids]
            reducer.from_log_sum_exp(
                one, lse, coords, labels, lse_at_temperature=lse, token_types=types
            )
    assert operations.called >= {"exp", "sum"}
    assert operations.syncs == []
    assert closed(one).metrics["coord_diag/coord_tokens"] > 0


def test_memory_does_not_grow():
    """Many micro-batches, each flushed or thrown away."""
    case = make(1, 8, 300, 20)
    reducer, one = LogitsReducer(case.ids), window()
    rows, counts = rows_of(case), []
    for call in range(600):
        reducer.update(*rows)
        reducer.update(*rows)
        reducer.flush(one) if call % 2 else reducer.discard()
        if call in {99, 599}:
            gc.collect()
            counts.append((len(gc.get_objects()), resident()))
    assert counts[1][0] - counts[0][0] < 200
    assert (counts[1][1] - counts[0][1]) * 4096 < 8 << 20


# ---- from the hidden states ------------------------------------------------------------------


def hidden_case(case, width=12, dtype=torch.float64, bias=False):
    """Hidden states and a head, and the case whose logits are their product."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(*case.labels.shape, width, generator=generator, dtype=torch.float64)
    head = torch.randn(case.logits.shape[2], width, generator=generator, dtype=torch.float64)
    shift = torch.randn(len(head), generator=generator, dtype=torch.float64) if bias else None
    hidden, head = hidden.to(dtype), head.to(dtype)
    shift = None if shift is None else shift.to(dtype)
    case.logits = torch.nn.functional.linear(hidden, head, shift)
    return hidden, head, shift


@MANY
@given(
    case=cases(scales=("plain",)),
    rows=st.integers(0, 30),
    typed=st.booleans(),
    bias=st.booleans(),
    provenance=st.sampled_from([None, "B"]),
)
def test_from_hidden_is_observe_of_the_product(case, rows, typed, bias, provenance, place):
    """Whatever number of rows exists at a time."""
    hidden, head, shift = hidden_case(case, bias=bias)
    one = window()
    LogitsReducer(case.ids).from_hidden(
        one,
        hidden,
        head,
        case.labels,
        case.types if typed else None,
        shift,
        provenance=provenance,
        logits_bytes=rows * 8 * len(head),
    )
    found, expected = closed(one), whole(case, typed, provenance)
    assert found.nonfinite == expected.nonfinite
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_from_hidden_in_the_precision_of_the_head(dtype, place):
    """A product over other rows at a time may differ in its last bit, and ties with it."""
    case = make(2, 30, 500, 40, coord=0.5)
    hidden, head, _ = hidden_case(case, dtype=dtype)
    one = window()
    LogitsReducer(case.ids).from_hidden(one, hidden, head, case.labels, case.types)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-2
    assert closed(one).metrics == pytest.approx(whole(case).metrics, rel=tolerance)


def test_from_hidden_reads_in_the_precision_of_the_head():
    """Hidden states of an autocast forward pass and a float32 head."""
    case = make(2, 30, 500, 40)
    hidden, head, _ = hidden_case(case, dtype=torch.float32)
    case.logits = hidden.bfloat16().float() @ head.T
    one = window()
    LogitsReducer(case.ids).from_hidden(one, hidden.bfloat16(), head, case.labels, case.types)
    assert closed(one).metrics == pytest.approx(whole(case).metrics, rel=1e-5)


def test_from_hidden_does_not_care_for_autocast():
    case = make(2, 30, 500, 40)
    hidden, head, shift = hidden_case(case, dtype=torch.float32, bias=True)
    found = []
    for enabled in (False, True):
        one = window()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            LogitsReducer(case.ids).from_hidden(one, hidden, head, case.labels, bias=shift)
        found.append(closed(one))
    assert found[0] == found[1]


@pytest.mark.parametrize("rows", [1, 4, 64])
def test_from_hidden_holds_so_many_bytes_of_logits_and_no_more(rows, one_thread):
    case = make(1, 400, 20_000, 100, supervised=0.5)
    hidden, head = torch.randn(1, 400, 8), torch.randn(20_000, 8)
    with Operations(hidden, head) as operations:
        LogitsReducer(case.ids).from_hidden(
            window(), hidden, head, case.labels, logits_bytes=rows * 80_000
        )
    assert "addmm" in operations.called or "mm" in operations.called
    # The read has scratch of its own: what fits a cache (blocks.py).
    assert operations.greatest <= max(rows * 80_000, 6 << 20)


@pytest.mark.parametrize("provenance", [None, "A1"])
def test_rows_that_nobody_asks_for_are_not_multiplied_on_a_host(provenance, one_thread):
    """Not supervised, or for a provenance no coordinates."""
    supervised = 0.02 if provenance is None else 0.2
    case = make(1, 400, 20_000, 100, supervised=supervised, coord=0.1)
    hidden, head = torch.randn(1, 400, 8), torch.randn(20_000, 8)
    target = case.labels[:, 1:]
    asked = target >= 0 if provenance is None else torch.isin(target, torch.tensor(case.ids))
    with Operations(hidden, head) as operations:
        LogitsReducer(case.ids).from_hidden(
            window(), hidden, head, case.labels, provenance=provenance
        )
    assert 0 < int(asked.sum()) < 20
    assert operations.greatest <= (int(asked.sum()) + 1) * 80_000


def test_from_hidden_keeps_no_graph_and_changes_no_input(place):
    case = make(2, 20, 300, 40)
    hidden, head, shift = hidden_case(case, bias=True)
    parts = [hidden, head, shift]
    before = [part.clone() for part in parts]
    one = window()
    LogitsReducer(case.ids).from_hidden(
        one, *(part.requires_grad_() for part in parts[:2]), case.labels, bias=shift
    )
    assert all(torch.equal(part, was) for part, was in zip(parts, before, strict=True))
    assert hidden.grad is None
    states = [s for s in vars(one._observations).values() if isinstance(s, dict)]
    kept = [t for s in states for t in s.values() if isinstance(t, torch.Tensor)]
    assert kept
    assert not any(t.requires_grad for t in kept)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"hidden": torch.zeros(4, 8)}, "hidden"),
        ({"hidden": torch.zeros(1, 4, 8).long()}, "hidden"),
        ({"hidden": None}, "hidden"),
        ({"lm_head_weight": torch.zeros(9, 7)}, "lm_head_weight"),
        ({"lm_head_weight": torch.zeros(0)}, "lm_head_weight"),
        ({"lm_head_weight": torch.zeros(9, 8, dtype=torch.int8)}, "lm_head_weight"),
        ({"bias": torch.zeros(8)}, "bias"),
        ({"bias": torch.zeros(9, 1)}, "bias"),
        ({"labels": torch.zeros(1, 5).long()}, "labels"),
        ({"labels": torch.zeros(1, 4)}, "labels"),
    ],
)
def test_hidden_states_that_cannot_be_read_are_an_error_that_says_what(changes, argument):
    given = {
        "hidden": torch.zeros(1, 4, 8),
        "lm_head_weight": torch.zeros(9, 8),
        "labels": torch.zeros(1, 4).long(),
    }
    with pytest.raises(ObservationError, match=argument) as error:
        LogitsReducer([0]).from_hidden(window(), **(given | changes))
    assert error.value.argument == argument


def test_a_head_without_the_coordinates_is_refused():
    with pytest.raises(DeclarationError, match="lie outside"):
        LogitsReducer([9]).from_hidden(
            window(), torch.zeros(1, 4, 8), torch.zeros(9, 8), torch.zeros(1, 4).long()
        )


# ---- from the log-sum-exp --------------------------------------------------------------------


def told(case, dtype=torch.float64, temperature=1.0, typed=True, provenance=None, **without):
    """What ``from_log_sum_exp`` makes of the rows of a case."""
    logits, labels, types = rows_of(case)
    x = logits.double()
    target = x.gather(1, labels.clamp(min=0)[:, None]).squeeze(1).to(dtype)
    columns = {
        "target_logits": target,
        "lse_at_temperature": (x / temperature).logsumexp(1).to(dtype),
        "token_types": types if typed else None,
        "num_samples": len(case.labels),
    }
    one = window()
    LogitsReducer(case.ids, temperature=temperature).from_log_sum_exp(
        one,
        x.logsumexp(1).to(dtype),
        x[:, case.ids].to(dtype),
        labels,
        provenance=provenance,
        **(columns | without),
    )
    return closed(one)


def needs_all_logits(key):
    return key.rpartition("/")[2].endswith(FROM_ALL_LOGITS) or "/flip_" in key


def assert_told(found, expected, rel, absolute):
    """Everything but what needs all logits."""
    kept = {
        key: value
        for key, value in expected.metrics.items()
        if key == "coord_diag/acc_top5" or not needs_all_logits(key)
    }
    assert found.metrics.keys() == kept.keys()
    assert found.metrics == pytest.approx(kept, rel=rel, abs=absolute)


@MANY
@given(
    case=cases(scales=("plain", "tied", "masked", "confident")),
    temperature=st.sampled_from([1.0, 0.7]),
    typed=st.booleans(),
    provenance=st.sampled_from([None, "A1"]),
)
def test_a_log_sum_exp_tells_what_it_can(case, temperature, typed, provenance, place):
    """To 1e-6: the reader sums powers in float32, and here they came in float64."""
    found = told(case, temperature=temperature, typed=typed, provenance=provenance)
    expected = whole(case, typed, provenance, temperature=temperature)
    assert found.nonfinite == expected.nonfinite
    assert_told(found, expected, 2e-6, 1e-9)


def test_a_float32_log_sum_exp_is_known_to_its_own_digits(place):
    """1e-5 relative; where all mass is inside, the gate is a difference and absolute: 6e-8 of L."""
    case = make(3, 40, 700, 100, coord=0.6)
    assert_told(told(case, torch.float32), whole(case), 1e-5, 1e-9)
    case.logits[..., case.ids] += 30.0
    found, expected = told(case, torch.float32), whole(case)
    gate = "coord_diag/gate"
    largest = float(case.logits.logsumexp(-1).abs().max())
    assert expected.metrics[gate] < 1e-9
    assert abs(found.metrics[gate] - expected.metrics[gate]) <= 6e-8 * largest
    assert told(case).metrics[gate] == pytest.approx(expected.metrics[gate], rel=1e-2)


def test_what_nobody_told_is_absent():
    case = make(2, 30, 300, 40, coord=0.5)
    full = told(case, temperature=0.7).metrics
    without = told(case, temperature=0.7, target_logits=None).metrics
    gone = {"base_ce/loss", "base_ce/loss_per_sample", "stage1/total_loss_per_sample_est"}
    assert full.keys() - without.keys() == gone
    without = told(case, temperature=0.7, lse_at_temperature=None).metrics
    gone = full.keys() - without.keys()
    assert gone >= {"coord_diag/gate", "coord_diag/coord_vocab_mass", "coord_diag/loss"}
    assert all("mass" in key or "gate" in key or "loss" in key for key in gone)
    assert "base_ce/loss" in without
    without = told(case, num_samples=None).metrics
    assert not [key for key in without if "per_sample" in key or "num_samples" in key]


def test_a_loss_without_a_gate_is_known_without_its_mass():
    case = make(2, 30, 300, 40, coord=0.5)
    logits, labels, _ = rows_of(case)
    reducer, one = LogitsReducer(case.ids, temperature=0.7, gate_weight=0.0), window()
    reducer.from_log_sum_exp(one, logits.double().logsumexp(1), logits[:, case.ids], labels)
    expected = whole(case, typed=False, temperature=0.7, gate_weight=0.0).metrics
    assert closed(one).metrics["coord_diag/loss"] == pytest.approx(
        expected["coord_diag/loss"], rel=1e-6
    )


def test_nothing_is_clamped():
    """A log-sum-exp below that of its own coordinates cannot be; the gate says so."""
    one = window()
    lse, coords = torch.tensor([0.0]), torch.zeros(1, 2)
    LogitsReducer([0, 1]).from_log_sum_exp(one, lse, coords, torch.tensor([1]))
    found = closed(one).metrics
    assert found["coord_diag/gate"] == pytest.approx(-math.log(2))
    assert found["coord_diag/coord_vocab_mass"] == pytest.approx(2.0)


@pytest.mark.parametrize("wrong", ["lse", "coord", "one coord", "target", "heated"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite_are_counted(wrong, value, place):
    case = make(2, 20, 90, 20, supervised=1.0, coord=0.5)
    logits, labels, _ = rows_of(case)
    row = next(i for i in range(40) if (int(labels[i]) in case.ids) == (wrong != "target"))
    x = logits.double()
    at_label = x.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
    lse, heated, coords = x.logsumexp(1), (x / 0.9).logsumexp(1), x[:, case.ids]
    place_of = {"lse": lse, "target": at_label, "heated": heated}
    if wrong in place_of:
        place_of[wrong][row] = value
    elif wrong == "coord":
        coords[row] = value
    else:
        coords[row, case.ids.index(int(labels[row]))] = value
    one = window()
    LogitsReducer(case.ids, temperature=0.9).from_log_sum_exp(
        one, lse, coords, labels, target_logits=at_label, lse_at_temperature=heated
    )
    payload = closed(one)
    assert payload.metrics["contract/nonfinite_rows_total"] == 1
    assert payload.metrics["token_count"] == int((labels >= 0).sum()) - 1
    lost = "base_ce/loss" if wrong == "target" else "coord_diag/loss"
    assert payload.nonfinite[lost] == "nan"


@pytest.mark.parametrize(("value", "lost"), [(math.nan, 1), (math.inf, 1), (-math.inf, 0)])
def test_a_text_row_without_a_mass_is_counted_and_one_without_coordinates_has_mass_0(
    value, lost, place
):
    one, coords = window(), torch.zeros(2, 2)
    coords[0] = value
    labels = torch.tensor([5, 6])
    LogitsReducer([0, 1]).from_log_sum_exp(one, torch.ones(2) * 2, coords, labels)
    found = closed(one)
    assert found.metrics.get("contract/nonfinite_rows_total", 0) == lost
    mass = 2 * math.exp(-2.0)
    expected = mass if lost else mass / 2
    key = "coord_monitor/coord_vocab_mass_at_gt_text"
    assert found.metrics[key] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"lse": torch.zeros(2, 1)}, "lse"),
        ({"lse": None}, "lse"),
        ({"lse": torch.zeros(2).long()}, "lse"),
        ({"coord_logits": torch.zeros(2, 4)}, "coord_logits"),
        ({"coord_logits": None}, "coord_logits"),
        ({"labels": torch.zeros(3).long()}, "labels"),
        ({"labels": torch.zeros(2)}, "labels"),
        ({"target_logits": torch.zeros(3)}, "target_logits"),
        ({"target_logits": torch.zeros(2).int()}, "target_logits"),
        ({"lse_at_temperature": torch.zeros(1, 2)}, "lse_at_temperature"),
    ],
)
def test_columns_that_cannot_be_read_are_an_error_that_says_what(changes, argument):
    given = {
        "lse": torch.zeros(2),
        "coord_logits": torch.zeros(2, 3),
        "labels": torch.zeros(2).long(),
    }
    with pytest.raises(ObservationError, match=argument) as error:
        LogitsReducer([4, 5, 6], temperature=2.0).from_log_sum_exp(window(), **(given | changes))
    assert error.value.argument == argument
