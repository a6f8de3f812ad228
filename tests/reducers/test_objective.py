"""The objective is what the metrics say it is, and its gradient is that of the plain formula."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from coordexp_metrics import CATALOGUE, DeclarationError, MetricsError, ObservationError
from coordexp_metrics.catalogue.stage1 import BaseCE, Stage1CoordDiag
from coordexp_metrics.reducers import LogitsReducer, coord_loss
from coordexp_metrics.reducers.coord_vocabulary import CoordVocabulary
from coordexp_metrics.window import Window
from tests.reducers.cases import LAYERS, cases, make
from tests.reducers.test_faults import BROKEN
from tests.reducers.test_footprint import Operations, one_thread

__all__ = ["one_thread"]

MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WEIGHTS = ("soft_ce_weight", "w1_weight", "ce_weight", "gate_weight")


def plain(
    logits,
    labels,
    ids,
    temperature=1.0,
    target_sigma=2.0,
    target_truncate=None,
    soft_ce_weight=1.0,
    w1_weight=1.0,
    ce_weight=0.0,
    gate_weight=1.0,
    num_text_tokens=None,
    num_coord_tokens=None,
):
    """metrics_and_losses.md:336-401 as it is usually written, for autograd."""
    x, y = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    ids = torch.as_tensor(ids)
    bins = torch.full((x.shape[-1],), -1).index_copy_(0, ids, torch.arange(len(ids)))
    target = torch.where(y >= 0, bins[y.clamp(min=0)], -1)
    text, coord = (y >= 0) & (target < 0), target >= 0
    base = cross_entropy(x[text], y[text], reduction="sum")
    scaled, t = x[coord] / temperature, target[coord][:, None]
    inside = scaled[:, ids]
    log_p = inside.log_softmax(-1)
    k = torch.arange(len(ids), dtype=torch.float64)
    q = torch.exp(-((k - t) ** 2) / (2 * target_sigma**2))
    if target_truncate is not None:
        q = torch.where((k - t).abs() <= target_truncate, q, 0.0)
    q = q / q.sum(-1, keepdim=True)
    terms = soft_ce_weight * -(q * log_p).sum(-1)
    cdf = (log_p.exp() - q).cumsum(-1)
    terms = terms + w1_weight * cdf.abs().sum(-1) / max(len(ids) - 1, 1)
    terms = terms - ce_weight * log_p.gather(1, t).squeeze(1)
    terms = terms + gate_weight * (scaled.logsumexp(-1) - inside.logsumexp(-1))
    texts = int(text.sum()) if num_text_tokens is None else num_text_tokens
    coords = int(coord.sum()) if num_coord_tokens is None else num_coord_tokens
    return base / max(texts, 1) + terms.sum() / max(coords, 1)


def both(case, dtype=torch.float64, **options):
    """Loss and gradient, ours and those of autograd in float64."""
    ours = case.logits.to(dtype).detach().clone().requires_grad_()
    theirs = ours.detach().double().requires_grad_()
    found = coord_loss(ours, case.labels, case.ids, **options)
    expected = plain(theirs, case.labels, case.ids, **options)
    for loss in (found.loss, expected):
        loss.backward()
    return found.loss, ours.grad, expected, theirs.grad


@MANY
@given(
    case=cases(scales=("plain", "confident")),
    temperature=st.sampled_from([1.0, 0.6, 3.0]),
    sigma=st.sampled_from([0.7, 2.0]),
    truncate=st.sampled_from([None, 3]),
    weights=st.tuples(*[st.sampled_from([0.0, 0.5, 2.0])] * 4),
    counts=st.sampled_from([{}, {"num_text_tokens": 7, "num_coord_tokens": 3}]),
)
def test_the_gradient_is_that_of_the_plain_formula(
    case, temperature, sigma, truncate, weights, counts, place
):
    """Whatever the shapes, settings and strides, in float64."""
    options = dict(zip(WEIGHTS, weights, strict=True)) | counts
    loss, grad, expected, wanted = both(
        case,
        temperature=temperature,
        target_sigma=sigma,
        target_truncate=truncate,
        **options,
    )
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(grad, wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 3.0])
def test_the_gate_alone_at_any_temperature(temperature, place):
    """T has all its digits in float64."""
    case = make(2, 12, 90, 20, supervised=1.0, coord=0.7, dtype=torch.float64)
    options = {"soft_ce_weight": 0.0, "w1_weight": 0.0, "temperature": temperature}
    loss, grad, expected, wanted = both(case, **options)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=0)
    torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "scattered"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_gradcheck(layout, temperature, place):
    """Against finite differences, all terms on."""
    case = make(2, 5, 13, 4, layout=layout, coord=0.5, dtype=torch.float64)
    logits = case.logits.requires_grad_()

    def loss(x):
        options = {"temperature": temperature, "ce_weight": 0.5, "target_sigma": 0.8}
        return coord_loss(x, case.labels, case.ids, **options).loss

    assert torch.autograd.gradcheck(loss, (logits,))


def test_a_second_derivative_is_refused_and_not_wrong():
    """Without an error a gradient penalty would miss this part of it and nobody would know."""
    case = make(1, 5, 13, 4, dtype=torch.float64)
    logits = case.logits.requires_grad_()
    loss = coord_loss(logits, case.labels, case.ids).loss
    with pytest.raises(MetricsError, match="no second derivative"):
        torch.autograd.grad(loss, logits, create_graph=True)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)]
)
def test_other_precisions_are_computed_in_float32(dtype, tolerance, place):
    """The gradient is rounded once, when it is written: half precision loses its last bit."""
    case = make(2, 30, 700, 60, coord=0.5, dtype=dtype)
    loss, grad, expected, wanted = both(case, dtype)
    assert (loss.dtype, grad.dtype) == (torch.float32, dtype)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(grad.double(), wanted, rtol=tolerance, atol=1e-7)


def test_float32_keeps_the_digits_of_what_is_nearly_certain(place):
    """p − 1 at the target and mass − 1 at the coordinates are no differences here."""
    case = make(1, 12, 500, 50, supervised=1.0, coord=0.5)
    bins = torch.isin(case.labels, torch.tensor(case.ids))
    case.logits[0, :-1][:, case.ids] += torch.where(bins[0, 1:, None], 24.0, -24.0)
    text = (~bins[0, 1:]).nonzero()[:, 0]
    case.logits[0, text, case.labels[0, text + 1]] += 24.0
    _, grad, _, wanted = both(case, torch.float32)
    rows = text[:, None], case.labels[0, text + 1][:, None]
    torch.testing.assert_close(grad[0][rows].double(), wanted[0][rows], rtol=1e-5, atol=0)
    _, grad, _, wanted = both(
        case, torch.float32, soft_ce_weight=0.0, w1_weight=0.0, gate_weight=1.0
    )
    at = bins[0, 1:].nonzero()[:, 0][:, None], torch.tensor(case.ids)[None]
    assert float(wanted[0][at].abs().max()) < 1e-9
    torch.testing.assert_close(grad[0][at].double(), wanted[0][at], rtol=1e-4, atol=1e-30)


@MANY
@given(
    case=cases(scales=("plain", "tied", "extreme", "confident")),
    weights=st.tuples(*[st.sampled_from([0.0, 0.5, 2.0])] * 4),
    temperature=st.sampled_from([1.0, 0.7]),
)
def test_the_value_is_what_the_reducer_logs(case, weights, temperature, place):
    """The same keys of the same batch, to 1e-6; what has no tokens is absent there and 0 here."""
    options = dict(zip(WEIGHTS, weights, strict=True)) | {"temperature": temperature}
    parts = coord_loss(case.logits, case.labels, case.ids, **options)
    logged = LogitsReducer(case.ids, **options).compute(case.logits, case.labels)
    total = 0.0
    for name in ("base_ce/loss", "coord_diag/loss"):
        total += logged.get(name, 0.0)
    assert parts.loss.item() == pytest.approx(total, rel=1e-6, abs=1e-9)
    assert int(parts.text_tokens) == logged.get("base_ce/noncoord_tokens", 0)
    assert int(parts.coord_tokens) == logged.get("coord_diag/coord_tokens", 0)
    for name in ("soft_ce", "w1", "ce", "gate"):
        tokens = max(int(parts.coord_tokens), 1)
        mean = float(getattr(parts, name)) / tokens
        assert mean == pytest.approx(logged.get(f"coord_diag/{name}", 0.0), rel=1e-6, abs=1e-9)


def test_the_parts_go_into_a_window_as_they_are(place):
    """Without a reducer the window has the objective all the same, and no graph."""
    one, cases_of = Window(CATALOGUE, group="local"), [make(2, 12, 90, 20, seed=s) for s in (1, 2)]
    other, reducer = Window(CATALOGUE, group="local"), LogitsReducer(cases_of[0].ids)
    for case in cases_of:
        parts = coord_loss(case.logits.requires_grad_(), case.labels, cases_of[0].ids)
        assert not any(part.requires_grad for part in parts[1:])
        one.observe(BaseCE.loss, parts.base_ce, parts.text_tokens)
        one.observe(Stage1CoordDiag.loss, parts.coord, parts.coord_tokens)
        for name in ("soft_ce", "w1", "ce", "gate"):
            one.observe(f"coord_diag/{name}", getattr(parts, name), parts.coord_tokens)
        reducer.observe(other, case.logits.detach(), case.labels)
    found = one.close(mode="train", global_step=1).metrics
    expected = other.close(mode="train", global_step=1).metrics
    assert len(found) == 6
    assert found == pytest.approx({key: expected[key] for key in found}, rel=1e-12)


@pytest.mark.parametrize("ranks", [1, 2])
def test_micro_batches_add_up_to_one_big_batch(ranks, place):
    """With global counts; data parallel, which averages over ranks, counts a rank's share."""
    case = make(6, 9, 60, 12, dtype=torch.float64)
    case.labels[0] = -100
    logits = case.logits.requires_grad_()
    whole = coord_loss(logits, case.labels, case.ids)
    (expected,) = torch.autograd.grad(whole.loss, logits)
    counts = {
        "num_text_tokens": whole.text_tokens / ranks,
        "num_coord_tokens": int(whole.coord_tokens) / ranks,
    }
    found, value = torch.zeros_like(logits), 0.0
    for piece in (slice(0, 1), slice(1, 2), slice(2, 6)):
        part = coord_loss(logits[piece], case.labels[piece], case.ids, **counts)
        (gradient,) = torch.autograd.grad(part.loss, logits)
        found += gradient / ranks
        value += part.loss.item() / ranks
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert value == pytest.approx(whole.loss.item(), rel=1e-12)


@pytest.mark.parametrize("share", [0.25, torch.tensor(0.25)])
def test_a_rank_may_have_a_share_of_a_token(share):
    """Few tokens over many ranks are below 1 each."""
    case = make(1, 3, 30, 4, supervised=1.0, coord=0.0)
    whole = coord_loss(case.logits, case.labels, case.ids, num_text_tokens=1)
    part = coord_loss(case.logits, case.labels, case.ids, num_text_tokens=share)
    assert part.loss.item() == pytest.approx(4 * whole.loss.item(), rel=1e-6)


@pytest.mark.parametrize("coord", [0.0, 1.0])
@pytest.mark.parametrize("zero", [None, 0, torch.tensor(0)])
def test_a_population_without_tokens_is_0_and_has_no_gradient(coord, zero, place):
    case = make(2, 9, 60, 12, supervised=1.0, coord=coord)
    missing = "num_coord_tokens" if coord == 0.0 else "num_text_tokens"
    logits = case.logits.requires_grad_()
    parts = coord_loss(logits, case.labels, case.ids, **{missing: zero})
    parts.loss.backward()
    assert float(parts.coord if coord == 0.0 else parts.base_ce) == 0.0
    assert parts.loss.item() == pytest.approx(plain(logits, case.labels, case.ids).item(), rel=1e-5)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 9, 60), (0, 5, 60), (2, 1, 60), (2, 0, 60)])
def test_nothing_supervised_is_0_and_has_a_zero_gradient(shape, place):
    """Also beside rows that are not finite: they take no part."""
    case = make(*shape, 12, supervised=0.0)
    case.logits[:, ::2] = math.nan
    logits = case.logits.requires_grad_()
    loss = coord_loss(logits, case.labels, case.ids).loss
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


@pytest.mark.parametrize("coord", [True, False])
@pytest.mark.parametrize("kind", [*BROKEN, "target"])
def test_what_is_not_finite_is_a_loss_that_is_not_a_number(kind, coord, place):
    """An objective fails where everybody sees it: value and gradient are NaN, never 0."""
    case = make(2, 12, 60, 12, supervised=1.0, coord=0.5)
    is_bin = torch.isin(case.labels[:, 1:], torch.tensor(case.ids))
    b, s = (is_bin == coord).nonzero()[3].tolist()
    if kind == "target":
        case.logits[b, s, case.labels[b, s + 1]] = -math.inf
    else:
        BROKEN[kind](case.logits[b, s])
    logits = case.logits.requires_grad_()
    loss = coord_loss(logits, case.labels, case.ids).loss
    loss.backward()
    assert math.isnan(loss.item())
    assert logits.grad[b, s].isnan().any()
    others = torch.ones(2, 12, dtype=torch.bool)
    others[b, s] = False
    assert logits.grad[others].isfinite().all()


def test_an_id_without_probability_takes_no_part(place):
    """−∞ elsewhere is how ids are masked."""
    case = make(2, 12, 60, 12, supervised=1.0, coord=0.5)
    unused = next(i for i in range(60) if i not in case.labels and i not in case.ids)
    case.logits[..., unused] = -math.inf
    loss, grad, expected, wanted = both(case)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(grad, wanted, rtol=1e-8, atol=1e-12)
    assert not grad[..., unused].any()


def test_a_term_of_weight_0_is_not_looked_at(place):
    """Bins without probability make the soft cross-entropy infinite, and nothing else."""
    case = make(1, 4, 30, 5, supervised=1.0, coord=1.0)
    ids = torch.tensor(case.ids)
    for s in range(3):
        others = ids[ids != case.labels[0, s + 1]][1:]
        case.logits[0, s, others] = -math.inf
    logits = case.logits.requires_grad_()
    assert coord_loss(logits, case.labels, case.ids).loss.item() == math.inf
    parts = coord_loss(logits, case.labels, case.ids, soft_ce_weight=0.0)
    parts.loss.backward()
    assert parts.loss.isfinite()
    assert logits.grad.isfinite().all()


def test_a_label_out_of_range_is_an_error(place):
    """On a host at once; on a device, where to look is a sync, the loss is NaN."""
    case = make(2, 12, 60, 12, supervised=1.0)
    case.labels[1, 3] = 60
    logits = case.logits.requires_grad_()
    if place == "host":
        with pytest.raises(ObservationError, match="out of range"):
            coord_loss(logits, case.labels, case.ids)
        return
    loss = coord_loss(logits, case.labels, case.ids).loss
    loss.backward()
    assert math.isnan(loss.item())
    assert logits.grad.isnan().any()


def test_where_the_distributions_cross_the_subgradient_is_0():
    """Uniform logits and a target of one bin in three: Σ (p − q) is 0 between them by symmetry."""
    logits = torch.zeros(1, 2, 4, dtype=torch.float64, requires_grad=True)
    options = {"soft_ce_weight": 0.0, "gate_weight": 0.0, "target_sigma": 1e12}
    loss = coord_loss(logits, torch.tensor([[-100, 1]]), [0, 1, 2], **options).loss
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


@pytest.mark.parametrize("layer", LAYERS)
def test_any_strides_and_no_change_to_the_inputs(layer, place):
    case = make(2, 12, 90, 20, layer=layer)
    leaf = case.logits.detach().clone().requires_grad_()
    before = case.labels.clone()
    expected = torch.autograd.grad(plain(leaf.double(), case.labels, case.ids), leaf)[0]
    logits = case.logits.requires_grad_()
    found = torch.autograd.grad(coord_loss(logits, case.labels, case.ids).loss, logits)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(case.labels, before)
    assert torch.equal(case.logits, leaf)


def test_nothing_waits_for_the_device(monkeypatch, one_thread):
    """With counts as numbers, too; forward and backward."""
    from coordexp_metrics.reducers import hosts

    monkeypatch.setattr(hosts, "on_host", lambda device: False)
    case = make(2, 12, 600, 30, layout="scattered")
    logits = case.logits.requires_grad_()
    coord_loss(logits, case.labels, case.ids)  # its tables are made once
    with Operations() as operations, torch.autograd.set_multithreading_enabled(False):
        loss = coord_loss(logits, case.labels, case.ids, num_text_tokens=9).loss
        loss.backward()
    assert operations.called >= {"_softmax", "exp2", "index_copy_"}
    assert operations.syncs == []


def gathered(case):
    """Bytes of the logits at rows whose target is a coordinate."""
    rows = torch.isin(case.labels[:, 1:], torch.tensor(case.ids)).sum()
    return int(rows) * case.logits.shape[2] * case.logits.element_size()


class Alive(Operations):
    """The most bytes that new storages hold at one time."""

    def __init__(self, *known):
        super().__init__(*known)
        self.held, self.most = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.known:
                    self.held[storage.data_ptr()] = storage._weak_ref(), storage.nbytes()
        expired = torch.UntypedStorage._expired
        self.held = {at: held for at, held in self.held.items() if not expired(held[0])}
        self.most = max(self.most, sum(size for _, size in self.held.values()))
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_beside_the_gradient_little_is_held(dtype, one_thread):
    """At most 1.5 times the logits at coordinate rows; plain autograd holds many times that."""
    case = make(1, 256, 20_000, 100, dtype=dtype, coord=0.4)
    logits = case.logits.requires_grad_()
    gradient = logits.numel() * logits.element_size()
    with torch.autograd.set_multithreading_enabled(False):
        with Alive(logits) as ours:
            coord_loss(logits, case.labels, case.ids).loss.backward()
        logits.grad = None
        with Alive(logits) as theirs:
            plain(logits.float(), case.labels, case.ids).backward()
    assert ours.most >= gradient
    assert ours.most - gradient <= 1.5 * gathered(case)
    assert theirs.most - gradient > 2 * gathered(case)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"target_sigma": -1.0},
        {"target_truncate": -1},
        {"soft_ce_weight": -1.0},
        {"gate_weight": math.nan},
        {"num_text_tokens": -1},
        {"num_coord_tokens": math.nan},
        {"num_coord_tokens": True},
        {"num_text_tokens": "7"},
    ],
)
def test_a_setting_that_cannot_be_says_which(wrong):
    (name,) = wrong
    case = make(1, 5, 13, 4)
    with pytest.raises(DeclarationError, match=name):
        coord_loss(case.logits, case.labels, case.ids, **wrong)


@pytest.mark.parametrize("ids", [[], [3, 3], [-1], [13], [1.0, 2.0], [True]])
def test_ids_that_cannot_be_are_refused_each_time(ids):
    """Also where equal numbers of another kind were accepted before."""
    case = make(1, 5, 13, 4)
    coord_loss(case.logits, case.labels.clamp(max=0), [1, 2])
    coord_loss(case.logits, case.labels.clamp(max=0), [1])
    for _ in range(2):
        with pytest.raises(DeclarationError):
            coord_loss(case.logits, case.labels, ids)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"logits": torch.zeros(4, 9)}, "logits"),
        ({"logits": torch.zeros(1, 4, 9).long()}, "logits"),
        ({"labels": torch.zeros(1, 5).long()}, "labels"),
        ({"labels": torch.zeros(1, 4)}, "labels"),
        ({"num_text_tokens": torch.ones(2)}, "num_text_tokens"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what(changes, argument):
    given = {"logits": torch.zeros(1, 4, 9), "labels": torch.zeros(1, 4).long()}
    with pytest.raises(ObservationError, match=argument) as error:
        coord_loss(**(given | changes), coord_token_ids=[0])
    assert error.value.argument == argument


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_evaluation_has_the_same_loss(mode):
    case = make(2, 12, 90, 20)
    expected = coord_loss(case.logits.clone().requires_grad_(), case.labels, case.ids).loss
    with mode():
        found = coord_loss(case.logits.clone(), case.labels, case.ids).loss
    assert not found.requires_grad
    assert found.item() == expected.item()


def test_a_vocabulary_may_be_shared():
    case = make(1, 9, 30, 4)
    vocabulary = CoordVocabulary(case.ids)
    one = coord_loss(case.logits, case.labels, vocabulary)
    other = coord_loss(case.logits, case.labels, torch.tensor(case.ids))
    assert one == other


def test_a_model_learns_and_logs_what_it_minimises():
    """The loss falls, and each of its values is the sum of the two keys of that batch."""
    torch.manual_seed(0)
    ids = range(20, 36)
    model = torch.nn.Sequential(torch.nn.Embedding(36, 24), torch.nn.Linear(24, 36))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    batch = torch.randint(0, 36, (4, 12))
    reducer, losses = LogitsReducer(ids), []
    for _ in range(30):
        logits = model(batch)
        loss = coord_loss(logits, batch, ids).loss
        logged = reducer.compute(logits, batch)
        total = logged["base_ce/loss"] + logged["coord_diag/loss"]
        assert loss.item() == pytest.approx(total, rel=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
