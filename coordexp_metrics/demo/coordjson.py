"""CoordJSON in a vocabulary of ours: JSON structure, pieces of words, and 1000 ordered coordinates.

The coordinate tokens end the vocabulary and stand in order. So a token is a coordinate exactly when
its id is at least `FIRST_COORD`, and the difference between two of them is a distance in bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import torch
from torch import Tensor

from coordexp_metrics.demo.scenes import BINS, Box, Scene
from coordexp_metrics.rollouts.masks import Span
from coordexp_metrics.token_types import pack_token_types
from coordexp_metrics.token_types.codes import COORD, DESC, FORMAT, IGNORE, UNSUPERVISED

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PIECE = 3
PIECES = sorted({piece for word in WORDS for piece in wrap(word, PIECE)})

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
OPEN, BOX, COMMA = '{"objects": [{"desc": "', '", "bbox_2d": [', ", "
NEXT, CLOSE = ']}, {"desc": "', "]}]}"
STRUCTURE = [PAD, START, END, OPEN, BOX, COMMA, NEXT, CLOSE]

TOKENS = [*STRUCTURE, *PIECES, *(f"<|coord_{k}|>" for k in range(BINS))]
IDS = {token: position for position, token in enumerate(TOKENS)}
FIRST_COORD = len(STRUCTURE) + len(PIECES)
COORD_IDS = range(FIRST_COORD, FIRST_COORD + BINS)

TYPES = torch.tensor([FORMAT] * len(STRUCTURE) + [DESC] * len(PIECES) + [COORD] * BINS)


@dataclass(frozen=True)
class Answer:
    """What follows an image; labels, types and spans are unshifted, one for each input id.

    Labels are the ids, but where a coordinate is to be another than the one that was read.
    """

    ids: Tensor
    labels: Tensor
    types: Tensor
    spans: Tensor

    @classmethod
    def of(cls, tokens: Sequence[str], spans: Sequence[Span]) -> Answer:
        """A start token, which nothing supervises, and the tokens of an answer."""
        ids = torch.tensor([IDS[START], *(IDS[token] for token in tokens)])
        first = torch.arange(len(ids)) == 0
        return cls(
            ids=ids,
            labels=ids.where(~first, UNSUPERVISED),
            types=TYPES[ids].where(~first, IGNORE),
            spans=torch.tensor([Span.NONE, *spans]),
        )


@dataclass(frozen=True)
class Batch:
    """Images and the answers to them in rows.

    Attributes:
        images: ``[N, 64, 64]``, those of the first row first.
        ids, labels, token_types, spans: ``[B, S]``; a row holds the answers to N / B images.
        segments: which image of its row a token belongs to, ``[B, S]``.
        positions: where a token stands in its own answer, ``[B, S]``.
    """

    images: Tensor
    ids: Tensor
    labels: Tensor
    token_types: Tensor
    spans: Tensor
    segments: Tensor
    positions: Tensor

    @classmethod
    def of(cls, scenes: Sequence[Scene], per_row: int = 1) -> Batch:
        """Scenes and their true answers, ``per_row`` answers end to end.

        Raises:
            ValueError: the scenes do not fill their rows.
        """
        tokens = [list(_tokens(scene.objects)) for scene in scenes]
        answers = [Answer.of(said, [Span.GT_ANCHOR] * len(said)) for said in tokens]
        return cls.packed(pictures(scenes), answers, per_row)

    @classmethod
    def packed(cls, images: Tensor, answers: Sequence[Answer], per_row: int = 1) -> Batch:
        """Rows of ``per_row`` answers end to end, padded to the longest row.

        Raises:
            ValueError: the answers do not fill their rows.
        """
        if len(answers) % per_row:
            raise ValueError(f"{len(answers)} answers do not fill rows of {per_row}")
        rows = [answers[first : first + per_row] for first in range(0, len(answers), per_row)]
        return cls(
            images=images,
            ids=padded([torch.cat([a.ids for a in row]) for row in rows], IDS[PAD]),
            labels=padded([torch.cat([a.labels for a in row]) for row in rows], UNSUPERVISED),
            token_types=padded([packed_types(row) for row in rows], IGNORE),
            spans=padded([torch.cat([a.spans for a in row]) for row in rows], Span.NONE),
            segments=padded([owners(row) for row in rows], per_row - 1),
            positions=padded(
                [torch.cat([torch.arange(len(a.ids)) for a in row]) for row in rows], 0
            ),
        )

    @classmethod
    def prompted(cls, images: Tensor, ids: Tensor) -> Batch:
        """Answers that are being written, one a row; nothing is supervised."""
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        labels, nothing = torch.full_like(ids, UNSUPERVISED), torch.zeros_like(ids)
        return cls(images, ids, labels, labels.clamp(min=IGNORE), nothing, nothing, positions)

    @property
    def num_samples(self) -> int:
        """Scenes, however they are packed."""
        return len(self.images)


def pictures(scenes: Sequence[Scene]) -> Tensor:
    """The images of scenes, ``[N, 64, 64]``."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes]))


def padded(rows: Sequence[Tensor], value: int) -> Tensor:
    """Rows of one length, ``[B, S]``."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def packed_types(row: Sequence[Answer]) -> Tensor:
    """Types are told before packing, and go where the labels go."""
    labels = torch.cat([answer.labels for answer in row])
    types: Tensor = pack_token_types([answer.types for answer in row], labels)
    return types


def owners(row: Sequence[Answer]) -> Tensor:
    """The number of the answer that each token of a row is part of."""
    lengths = torch.tensor([len(answer.ids) for answer in row])
    return torch.arange(len(row)).repeat_interleave(lengths)


def encode(scene: Scene) -> list[int]:
    """The answer to a scene as token ids, its end-of-turn token included."""
    return [IDS[token] for token in _tokens(scene.objects)]


def decode(ids: Sequence[int]) -> str:
    """The text of an answer, up to its end-of-turn token."""
    return "".join(TOKENS[i] for i in ids).split(END)[0]


def _tokens(objects: Sequence[tuple[int, Box]]) -> Iterator[str]:
    for position, (digit, box) in enumerate(objects):
        yield from object_tokens(WORDS[digit], box, first=position == 0)
    yield CLOSE
    yield END


def object_tokens(word: str, box: Sequence[float], *, first: bool) -> Iterator[str]:
    """One object, with what opens it."""
    yield OPEN if first else NEXT
    yield from wrap(word, PIECE)
    yield BOX
    yield from _separated(f"<|coord_{int(k)}|>" for k in box)


def _separated(tokens: Iterator[str]) -> Iterator[str]:
    yield next(tokens)
    for token in tokens:
        yield COMMA
        yield token
