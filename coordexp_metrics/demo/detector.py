"""The detector is a language model with an image for its prompt.

Convolutions turn the canvas into 16 prefix tokens that see one another; the text after them sees
the prefix and its own past. In a row that holds several answers, each sees its own image alone.
Coordinates are embedded and predicted through one smooth basis over the bins, so that what is
learned about a bin is learned about its neighbours: that is what makes a thousand bins learnable
within a few hundred steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, scaled_dot_product_attention

from coordexp_metrics.demo.coordjson import END, FIRST_COORD, IDS, START, Batch
from coordexp_metrics.demo.scenes import BINS, CANVAS

GRID = CANVAS // 16
LONGEST, LONGEST_ANSWER = 96, 48


class Detector(nn.Module):
    """Logits `[B, S, V]` for the images `[N, 64, 64]` and the rows of ids `[B, S]` of a batch."""

    def __init__(
        self, width: int = 96, heads: int = 4, depth: int = 2, harmonics: int = 64
    ) -> None:
        super().__init__()
        self.eyes = Eyes(width)
        self.embedding = VocabularyRows(width, harmonics, 0.05)
        self.position = nn.Parameter(torch.randn(LONGEST, width) * 0.05)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = VocabularyRows(width, harmonics, 0.05)

    def forward(self, batch: Batch) -> Tensor:
        rows = len(batch.ids)
        seen = self.eyes(batch.images).unflatten(0, (rows, -1)).flatten(1, 2)
        text = embedding(batch.ids, self.embedding()) + self.position[batch.positions]
        stream: Tensor = torch.cat([seen, text], dim=1)
        mask = prefix_causal(batch.num_samples // rows, batch.segments)
        for block in self.blocks:
            stream = block(stream, mask)
        return linear(self.norm(stream[:, seen.shape[1] :]), self.head())

    @torch.no_grad()
    def answer(self, images: Tensor) -> list[list[int]]:
        """Greedy decoding, until every answer has ended or there is no room left."""
        ids = torch.full((len(images), 1), IDS[START])
        while ids.shape[1] < LONGEST_ANSWER and not (ids == IDS[END]).any(dim=1).all():
            likeliest = self(Batch.prompted(images, ids))[:, -1:].argmax(dim=-1)
            ids = torch.cat([ids, likeliest], dim=1)
        return ids[:, 1:].tolist()


class Eyes(nn.Module):
    """One token for every 16 x 16 pixels, knowing where it stands."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *halve(1, 32), *halve(32, 64), *halve(64, width), *halve(width, width)
        )
        self.row = nn.Parameter(torch.randn(GRID, 1, width) * 0.5)
        self.column = nn.Parameter(torch.randn(1, GRID, width) * 0.5)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images.unsqueeze(1))
        return features.flatten(2).mT + (self.row + self.column).flatten(0, 1)


def halve(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Half the resolution, normalised so that all of the picture learns at one pace."""
    return (
        nn.Conv2d(inputs, outputs, 4, stride=2, padding=1),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
    )


class Block(nn.Module):
    """Attention, then a feed-forward layer, each on a normalised stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, stream: Tensor, mask: Tensor) -> Tensor:
        parts = self.qkv(self.before(stream)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        read = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        stream = stream + self.out(read.transpose(1, 2).flatten(2))
        thought: Tensor = self.think(self.between(stream))
        return stream + thought


class VocabularyRows(nn.Module):
    """One row a token: free rows for text, smooth functions of the bin for coordinates."""

    basis: Tensor

    def __init__(self, width: int, harmonics: int, scale: float) -> None:
        super().__init__()
        self.text = nn.Parameter(torch.randn(FIRST_COORD, width) * scale)
        self.mix = nn.Parameter(torch.randn(2 * harmonics, width) * scale)
        self.register_buffer("basis", fourier_basis(harmonics), persistent=False)

    def forward(self) -> Tensor:
        return torch.cat([self.text, self.basis @ self.mix])


def fourier_basis(harmonics: int) -> Tensor:
    """Cosines and sines over half a period and up, `[BINS, 2 * harmonics]`; slow waves are loud."""
    wave = torch.arange(1, harmonics + 1)
    angle = torch.arange(BINS).unsqueeze(1) / BINS * math.pi * wave
    return torch.cat([angle.cos(), angle.sin()], dim=1) / wave.sqrt().repeat(2)


def prefix_causal(images: int, segments: Tensor) -> Tensor:
    """True where a query may look, ``[B, 1, T, T]``: at its own image, and text at its own past."""
    rows, length = segments.shape
    prefix = images * GRID**2
    causal = torch.ones(prefix + length, prefix + length, dtype=torch.bool).tril()
    causal[:, :prefix] = True
    image = torch.arange(images).repeat_interleave(GRID**2).expand(rows, -1)
    owner = torch.cat([image, segments], dim=1)
    return (causal & (owner.unsqueeze(2) == owner.unsqueeze(1))).unsqueeze(1)
