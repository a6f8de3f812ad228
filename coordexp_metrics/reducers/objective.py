"""What is trained is what is logged: the objective and the metrics are one definition.

The value comes from the same read of the logits as ``base_ce/*`` and ``coord_diag/*``; the gradient
is written down in closed form, so that nothing of the size of the logits lives beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ..contract.errors import DeclarationError, MetricsError
from . import hosts
from .coord_distribution import SoftTarget, bin_gradient
from .coord_vocabulary import CoordVocabulary
from .keys import CoordWeights
from .parallel import in_threads
from .positions import Positions, positions_of, unusable
from .rowstats import Request, row_statistics
from .settings import refuse, refuse_term

__all__ = ["LossParts", "coord_loss"]

HOST_ELEMENTS, DEVICE_ELEMENTS = 1 << 19, 1 << 24


class LossParts(NamedTuple):
    """The objective of one batch; all are 0-d tensors on the device of the logits.

    All but ``loss`` are detached sums over the tokens of this batch, in float64, and counts: they
    go into a window as they are, ``window.observe(Stage1CoordDiag.w1, parts.w1,
    parts.coord_tokens)``.

    Attributes:
        loss: what is minimised; float32, or float64 for float64 logits.
        base_ce: Σ of the cross-entropy over text tokens, nats.
        coord: Σ of the weighted coordinate term over coordinate tokens (``coord_diag/loss``).
        soft_ce, w1, ce, gate: Σ of its terms over coordinate tokens, without their weights.
        text_tokens: supervised tokens whose target is no coordinate.
        coord_tokens: supervised tokens whose target is one.
    """

    loss: Tensor
    base_ce: Tensor
    coord: Tensor
    soft_ce: Tensor
    w1: Tensor
    ce: Tensor
    gate: Tensor
    text_tokens: Tensor
    coord_tokens: Tensor


def coord_loss(
    logits: Tensor,
    labels: Tensor,
    coord_token_ids: CoordVocabulary | Iterable[int] | Tensor,
    temperature: float = 1.0,
    target_sigma: float = 2.0,
    target_truncate: float | None = None,
    soft_ce_weight: float = 1.0,
    w1_weight: float = 1.0,
    ce_weight: float = 0.0,
    gate_weight: float = 1.0,
    *,
    num_text_tokens: float | Tensor | None = None,
    num_coord_tokens: float | Tensor | None = None,
) -> LossParts:
    """The Stage-1 objective (metrics_and_losses.md:336-367), differentiable in the logits.

    ``loss = Σ base_ce / text tokens + Σ (soft_ce, w1, ce and gate, weighted) / coordinate tokens``:
    cross-entropy where the target is no coordinate, the coordinate term where it is one, each a
    mean over its own tokens, so that it does not matter how samples are packed.

    Args:
        logits: ``[B, S, V]``, unshifted, any floating-point type and strides; half precision is
            computed in float32.
        labels: integers ``[B, S]``, unshifted; ``labels[:, 1:] != -100`` are supervised.
        coord_token_ids: the token id of each bin, in order, or a :class:`CoordVocabulary`. A tensor
            of them on a device is copied to the host at each call.
        temperature, target_sigma, target_truncate: of the coordinate term, as for
            :class:`LogitsReducer`.
        soft_ce_weight, w1_weight, ce_weight, gate_weight: 0 or more.
        num_text_tokens, num_coord_tokens: what the sums are divided by, where that is not the
            tokens of this batch: those of all micro-batches and ranks whose gradients are added up.

    Where a population is empty, here and by its given number, its term is 0 and so is its gradient.
    The W1 term has a kink where the two distributions cross; its subgradient there is 0.

    Raises:
        DeclarationError: a setting or a number of tokens cannot be right.
        ObservationError: logits or labels cannot be read; on a host, also for a label out of range.
        MetricsError: somebody asks for a second derivative.

    What is not finite in a supervised row makes the loss and its gradient NaN. On a device, where
    to look would be a sync, so does a label out of range.

    >>> logits = torch.zeros(1, 3, 4, requires_grad=True)
    >>> parts = coord_loss(logits, torch.tensor([[-100, 3, 1]]), [0, 1])
    >>> parts.loss.backward()
    >>> round(float(parts.base_ce), 4), round(float(parts.gate), 4), int(parts.coord_tokens)
    (1.3863, 0.6931, 1)
    >>> logits.grad[0, 0]
    tensor([ 0.2500,  0.2500,  0.2500, -0.7500])
    """
    weights = (soft_ce_weight, w1_weight, ce_weight, gate_weight)
    refuse_term(temperature, target_sigma, target_truncate, weights)
    vocabulary = _vocabulary(coord_token_ids)
    target = _soft_target(len(vocabulary), target_sigma, target_truncate)
    positions, misfits = positions_of(logits, labels, None, vocabulary)
    positions = positions.only(positions.supervised)
    request = Request(vocabulary, target, float(temperature), top5=False, entropy=False)
    sums = _Sums.apply(logits, positions, request)  # type: ignore[no-untyped-call]
    base_ce, *terms = sums.unbind()
    coord = CoordWeights(True, *weights).combined(*terms)
    coord_tokens = (positions.supervised & positions.is_coord).sum()
    text_tokens = positions.supervised.sum() - coord_tokens
    loss = base_ce / _per("num_text_tokens", num_text_tokens, text_tokens)
    loss = loss + coord / _per("num_coord_tokens", num_coord_tokens, coord_tokens)
    loss = loss * _sound(misfits.labels)
    exact = logits.dtype is torch.float64
    parts = [part.detach() for part in (base_ce, coord, *terms)]
    return LossParts._make([loss if exact else loss.float(), *parts, text_tokens, coord_tokens])


class _Sums(torch.autograd.Function):
    """Σ base_ce over text tokens, and Σ soft_ce, w1, ce and gate over coordinate tokens: ``[5]``.

    The logits are saved, and two numbers a row; the backward pass makes the gradient and, for some
    rows at a time, their softmax.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, positions: Positions, request: Request) -> Tensor:
        said = row_statistics(logits.detach(), positions, request)
        ce, gate = cast("tuple[Tensor, Tensor]", (said.ce, said.gate))  # all logits were there
        wide = hosts.wide(logits.device)
        text, coord = positions.supervised & ~positions.is_coord, positions.is_coord
        sums = []
        for column, population in (
            (ce, text),
            (said.bins.soft_ce, coord),
            (said.bins.w1, coord),
            (said.bins.ce, coord),
            (gate, coord),
        ):
            known = torch.where(said.finite, column, torch.nan).to(wide)
            sums.append(torch.where(population, known, 0.0).sum())
        ctx.save_for_backward(logits)
        ctx.rows = _Rows(positions, said.finite, ce, gate)
        ctx.request = request
        return torch.stack(sums)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():
            way_out = "call backward without create_graph=True"
            raise MetricsError(f"coord_loss has no second derivative; {way_out}")
        (logits,) = ctx.saved_tensors
        return _gradient(logits.detach(), ctx.rows, ctx.request, gradient), None, None


class _Rows(NamedTuple):
    """What the backward pass keeps of n rows: whether and what they said."""

    positions: Positions
    finite: Tensor
    ce: Tensor
    gate: Tensor

    def between(self, start: int, stop: int) -> _Rows:
        some = slice(start, stop)
        positions = self.positions[some]
        return _Rows(positions, self.finite[some], self.ce[some], self.gate[some])


def _gradient(logits: Tensor, rows: _Rows, request: Request, per_sum: Tensor) -> Tensor:
    """The gradient in ``logits``, of whatever has the gradient ``per_sum [5]`` in the sums."""
    found = torch.zeros(logits.shape, dtype=logits.dtype, device=logits.device)
    count, length, size = len(rows.finite), logits.shape[1], logits.shape[2]
    elements = HOST_ELEMENTS if hosts.on_host(logits.device) else DEVICE_ELEMENTS
    at_once = max(1, min(elements // size, count // 16))

    def write(start: int) -> None:
        some = rows.between(start, start + at_once)
        place = some.positions.rows
        x = logits[place // length, place % length]
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        gradient = _of_rows(x, some, request, per_sum)
        found.view(-1, size).index_copy_(0, place, gradient.to(found.dtype))

    in_threads(write, range(0, count, at_once), logits.device)
    return found


def _of_rows(x: Tensor, rows: _Rows, request: Request, per_sum: Tensor) -> Tensor:
    """The gradient in some rows ``x [n, V]``, which are overwritten.

    A softmax, but at the target and at the coordinates: there it would be the difference of two
    nearly equal numbers, where ``p_y − 1 = expm1(−ce)`` and ``mass − 1 = expm1(−gate)`` are exact.
    """
    positions, vocabulary, t = rows.positions, request.vocabulary, request.temperature
    base_ce, *terms, gate = per_sum.unbind()
    is_coord, wide = positions.is_coord, per_sum.dtype
    everywhere = torch.arange(len(x), device=x.device)
    coords = vocabulary.take(x, everywhere).to(wide)
    p = torch.softmax((coords - coords.amax(1, keepdim=True)) / t, 1)
    x -= x.amax(1, keepdim=True)
    if t != 1:
        heat = torch.full((), t, dtype=x.dtype, device=x.device)
        x /= torch.where(is_coord, heat, 1.0)[:, None]
    weight = torch.where(is_coord, gate / t, base_ce)
    weight = torch.where(rows.finite, weight, torch.nan)
    found = torch.softmax(x, 1).mul_(weight.to(x.dtype)[:, None])
    label = positions.label[:, None]
    at_label = (base_ce * torch.expm1(-rows.ce)).to(x.dtype)[:, None]
    at_label = torch.where(is_coord[:, None], found.gather(1, label), at_label)
    found.scatter_(1, label, at_label)
    target = positions.bin.clamp(min=0)
    at_bins = bin_gradient(p, target, request.soft_target, (terms[0], terms[1], terms[2]))
    at_bins = (at_bins + gate * p * torch.expm1(-rows.gate)[:, None]) / t
    ids = vocabulary.ids_on(x.device)
    at_bins = torch.where(is_coord[:, None], at_bins.to(x.dtype), found.index_select(1, ids))
    found.index_copy_(1, ids, at_bins)
    return found.masked_fill_(~positions.supervised[:, None], 0.0)


def _per(name: str, given: float | Tensor | None, found: Tensor) -> Tensor:
    """What a sum is divided by; 1 where there is nothing to divide."""
    if given is None:
        given = found
    elif not isinstance(given, Tensor):
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise DeclarationError(f"{name} must be a number or a 0-d tensor; got {given!r}")
        refuse(name, given, given >= 0, "0 or more")
        given = torch.full((), given, dtype=hosts.wide(found.device), device=found.device)
    if given.dim():
        raise unusable(name, tuple(given.shape), "must be a number or a 0-d tensor")
    given = given.detach().to(found.device, hosts.wide(found.device), non_blocking=True)
    return torch.where(given > 0, given, 1.0)


def _sound(out_of_range: Tensor) -> Tensor:
    """1, or NaN for labels that no row can predict; on a host an error says how many."""
    if hosts.on_host(out_of_range.device) and int(out_of_range):
        why = "of the labels are out of range: not -100, and no id of the vocabulary"
        raise unusable("labels", int(out_of_range), why)
    return torch.where(out_of_range > 0, torch.nan, 1.0)


def _vocabulary(ids: CoordVocabulary | Iterable[int] | Tensor) -> CoordVocabulary:
    if isinstance(ids, CoordVocabulary):
        return ids
    given = tuple(ids.tolist() if isinstance(ids, Tensor) else ids)
    return _vocabulary_of(given, frozenset(map(type, given)))


@lru_cache(maxsize=16)
def _vocabulary_of(ids: tuple[int, ...], _types: frozenset[type]) -> CoordVocabulary:
    """(1, 2) and (1.0, True + 1) are equal, and only one of them are ids."""
    return CoordVocabulary(ids)


@lru_cache(maxsize=16)
def _soft_target(bins: int, sigma: float, truncate: float | None) -> SoftTarget:
    return SoftTarget(bins, sigma, truncate)
