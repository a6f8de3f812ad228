"""Batches to try: any shape, any coordinate ids, ties, extremes, rows that are not finite."""

import os
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st

from coordexp_metrics.reducers import hosts
from tests.reducers.reference import COORD, DESC, FORMAT, IGNORE

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
LAYOUTS = ("contiguous", "permuted", "scattered")
SCALES = ("plain", "tied", "extreme", "confident", "masked")
LAYERS = ("contiguous", "transposed", "sliced", "expanded")


def examples(count):
    """How many examples to try: a tenth where every instruction of a kernel is one of numpy."""
    return max(5, count // 10) if INTERPRETED else count


@dataclass
class Case:
    """One micro-batch and its coordinate ids."""

    logits: torch.Tensor
    labels: torch.Tensor
    types: torch.Tensor
    ids: list


def coord_ids(size, count, layout, generator):
    if layout == "scattered":
        return torch.randperm(size, generator=generator)[:count].tolist()
    start = int(torch.randint(0, size - count + 1, (1,), generator=generator))
    ids = torch.arange(start, start + count)
    return (
        ids[torch.randperm(count, generator=generator)] if layout == "permuted" else ids
    ).tolist()


def values(shape, scale, labels, generator):
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 3
    if scale == "tied":
        x = x.round()
    if scale == "extreme":
        x = torch.where(torch.rand(shape, generator=generator) < 0.5, 1e4, -1e4) + x
    if scale == "confident":
        x = x - 4
        x[:, :-1].scatter_(2, labels[:, 1:, None].clamp(min=0), 14.0)
    if scale == "masked":
        x[torch.rand(shape, generator=generator) < 0.2] = -torch.inf
        x[..., 0] = 0.5
        targets = labels[:, 1:, None].clamp(min=0)
        x[:, :-1].scatter_(2, targets, torch.ones(targets.shape, dtype=x.dtype))
    return x


def laid_out(x, layer):
    """The same values behind other strides."""
    if layer == "transposed":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if layer == "sliced":
        padded = x.new_zeros(x.shape[0], x.shape[1] + 2, x.shape[2] + 3)
        padded[:, 1:-1, 2:-1] = x
        return padded[:, 1:-1, 2:-1]
    if layer == "expanded" and len(x):
        return x[:1].expand(x.shape)
    return x


def make(
    batch,
    length,
    size,
    count,
    *,
    seed=0,
    layout="contiguous",
    scale="plain",
    dtype=torch.float32,
    layer="contiguous",
    supervised=0.8,
    coord=0.4,
):
    generator = torch.Generator().manual_seed(seed)
    ids = coord_ids(size, count, layout, generator)
    text = torch.tensor(sorted({*range(size)} - {*ids}) or ids)
    labels = text[torch.randint(0, len(text), (batch, length), generator=generator)]
    picked = torch.tensor(ids)[torch.randint(0, count, (batch, length), generator=generator)]
    labels = torch.where(torch.rand(batch, length, generator=generator) < coord, picked, labels)
    types = torch.tensor([DESC, FORMAT, IGNORE])[
        torch.randint(0, 3, (batch, length), generator=generator)
    ]
    types = torch.where(torch.isin(labels, torch.tensor(ids)), COORD, types)
    logits = laid_out(values((batch, length, size), scale, labels, generator).to(dtype), layer)
    labels[torch.rand(batch, length, generator=generator) > supervised] = -100
    return Case(logits, labels, types, ids)


@st.composite
def cases(draw, dtypes=(torch.float32,), scales=SCALES):
    size = draw(st.integers(1, 40) | st.sampled_from([255, 256, 257, 1000, 5000]))
    return make(
        draw(st.integers(0, 3)),
        draw(st.integers(0, 7)),
        size,
        draw(st.integers(1, min(size, 64)) | st.just(size)),
        seed=draw(st.integers(0, 2**32)),
        layout=draw(st.sampled_from(LAYOUTS)),
        scale=draw(st.sampled_from(scales)),
        dtype=draw(st.sampled_from(dtypes)),
        layer=draw(st.sampled_from(LAYERS)),
        supervised=draw(st.sampled_from([0.0, 0.5, 1.0])),
        coord=draw(st.sampled_from([0.0, 0.4, 1.0])),
    )


@pytest.fixture(params=["kernels"] if INTERPRETED else ["host", "device"])
def place(request, monkeypatch):
    """All paths on the host: rows chosen by content, all rows behind masks, kernels in numpy."""
    if request.param == "device":
        monkeypatch.setattr(hosts, "on_host", lambda device: False)
    return request.param
