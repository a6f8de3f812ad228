"""CoordJSON in a vocabulary of ours: JSON structure, pieces of words, and 1000 ordered coordinates.

The coordinate tokens end the vocabulary and stand in order. So a token is a coordinate exactly when
its id is at least `FIRST_COORD`, and the difference between two of them is a distance in bins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import torch
from torch import Tensor

from coordexp_metrics.demo.scenes import BINS, Box, Scene
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
class Batch:
    """Scenes and their answers in rows; labels and types are unshifted, one for each input id.

    Attributes:
        images: ``[N, 64, 64]``, those of the first row first.
        ids, labels, token_types: ``[B, S]``; a row holds the answers to N / B images.
        segments: which image of its row a token belongs to, ``[B, S]``.
        positions: where a token stands in its own answer, ``[B, S]``.
    """

    images: Tensor
    ids: Tensor
    labels: Tensor
    token_types: Tensor
    segments: Tensor
    positions: Tensor

    @classmethod
    def of(cls, scenes: Sequence[Scene], per_row: int = 1) -> Batch:
        """Rows of ``per_row`` answers end to end, padded to the longest row.

        A prompt is an image and a start token; everything after it is supervised.

        Raises:
            ValueError: the scenes do not fill their rows.
        """
        if len(scenes) % per_row:
            raise ValueError(f"{len(scenes)} scenes do not fill rows of {per_row}")
        answers = [answer_tokens(scene) for scene in scenes]
        rows = [answers[first : first + per_row] for first in range(0, len(answers), per_row)]
        labels = padded([torch.cat([labels_of(a) for a in row]) for row in rows], UNSUPERVISED)
        return cls(
            images=torch.from_numpy(np.stack([scene.image for scene in scenes])),
            ids=padded([torch.cat(row) for row in rows], IDS[PAD]),
            labels=labels,
            token_types=padded([packed_types(row) for row in rows], IGNORE),
            segments=padded([owners(row) for row in rows], per_row - 1),
            positions=padded([torch.cat([torch.arange(len(a)) for a in row]) for row in rows], 0),
        )

    @classmethod
    def prompted(cls, images: Tensor, ids: Tensor) -> Batch:
        """Answers that are being written, one a row; nothing is supervised."""
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        nothing = torch.full_like(ids, UNSUPERVISED)
        return cls(
            images, ids, nothing, nothing.clamp(min=IGNORE), torch.zeros_like(ids), positions
        )

    @property
    def num_samples(self) -> int:
        """Scenes, however they are packed."""
        return len(self.images)


def padded(rows: Sequence[Tensor], value: int) -> Tensor:
    """Rows of one length, ``[B, S]``."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def answer_tokens(scene: Scene) -> Tensor:
    """What follows the image: a start token, and the answer to it."""
    return torch.tensor([IDS[START], *encode(scene)])


def labels_of(answer: Tensor) -> Tensor:
    """Everything but the start token."""
    return answer.where(answer != IDS[START], UNSUPERVISED)


def types_of(answer: Tensor) -> Tensor:
    """What each token of one answer is."""
    return TYPES[answer].where(answer != IDS[START], IGNORE)


def packed_types(row: Sequence[Tensor]) -> Tensor:
    """Types are told before packing, and go where the labels go."""
    labels = torch.cat([labels_of(answer) for answer in row])
    types: Tensor = pack_token_types([types_of(answer) for answer in row], labels)
    return types


def owners(row: Sequence[Tensor]) -> Tensor:
    """The number of the answer that each token of a row is part of."""
    lengths = torch.tensor([len(answer) for answer in row])
    return torch.arange(len(row)).repeat_interleave(lengths)


def encode(scene: Scene) -> list[int]:
    """The answer to a scene as token ids, its end-of-turn token included."""
    return [IDS[token] for token in _tokens(scene)]


def decode(ids: Sequence[int]) -> str:
    """The text of an answer, up to its end-of-turn token."""
    return "".join(TOKENS[i] for i in ids).split(END)[0]


def _tokens(scene: Scene) -> Iterator[str]:
    for position, (digit, box) in enumerate(scene.objects):
        yield NEXT if position else OPEN
        yield from wrap(WORDS[digit], PIECE)
        yield BOX
        yield from _separated(f"<|coord_{k}|>" for k in box)
    yield CLOSE
    yield END


def _separated(tokens: Iterator[str]) -> Iterator[str]:
    yield next(tokens)
    for token in tokens:
        yield COMMA
        yield token


def parse(text: str) -> list[tuple[str, Box]]:
    """The complete objects of an answer; what is malformed does not match."""
    number = r"<\|coord_(\d+)\|>"
    pattern = rf'\{{"desc": "([a-z]+)", "bbox_2d": \[{", ".join([number] * 4)}\]\}}'
    found = re.finditer(pattern, text)
    return [
        (match[1], (int(match[2]), int(match[3]), int(match[4]), int(match[5]))) for match in found
    ]
