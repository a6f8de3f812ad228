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

UNSUPERVISED = -100
IGNORE, DESC, COORD, FORMAT = -1, 1, 2, 3
TYPES = torch.tensor([FORMAT] * len(STRUCTURE) + [DESC] * len(PIECES) + [COORD] * BINS)


@dataclass(frozen=True)
class Batch:
    """Scenes and their answers, padded; labels and types are unshifted, one for each input id."""

    images: Tensor
    ids: Tensor
    labels: Tensor
    token_types: Tensor

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> Batch:
        """The prompt is the image and a start token; everything after it is supervised."""
        answers = [torch.tensor([IDS[START], *encode(scene)]) for scene in scenes]
        ids = torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=IDS[PAD])
        supervised = (ids != IDS[PAD]) & (ids != IDS[START])
        return cls(
            images=torch.from_numpy(np.stack([scene.image for scene in scenes])),
            ids=ids,
            labels=ids.where(supervised, UNSUPERVISED),
            token_types=TYPES[ids].where(supervised, IGNORE),
        )


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
