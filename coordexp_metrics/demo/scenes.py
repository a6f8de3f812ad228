"""A scene is a canvas of real handwritten digits, and every box encloses the ink it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

CANVAS, CELL, BINS = 64, 16, 1000
PER_ROW = CANVAS // CELL

Image = NDArray[np.float32]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """An image in 0..1 and, in reading order, each digit in it with its norm1000 box."""

    image: Image
    objects: tuple[tuple[int, Box], ...]


class Digits:
    """Handwritten digits of 8 x 8 pixels; every fifth is held out and never trained on."""

    def __init__(self, *, held_out: bool) -> None:
        images, digits = load_digits(return_X_y=True)
        chosen = (np.arange(len(digits)) % 5 == 0) == held_out
        self.images: Image = (images[chosen].reshape(-1, 8, 8) / 16).astype(np.float32)
        self.digits: NDArray[np.int64] = digits[chosen]

    def scenes(self, count: int, rng: np.random.Generator) -> list[Scene]:
        """Scenes of one to three digits; the same generator state gives the same scenes."""
        return [self._scene(rng) for _ in range(count)]

    def _scene(self, rng: np.random.Generator) -> Scene:
        image = np.zeros((CANVAS, CANVAS), np.float32)
        cells = np.sort(rng.choice(PER_ROW**2, size=rng.integers(1, 4), replace=False))
        return Scene(image, tuple(self._paste(image, int(cell), rng) for cell in cells))

    def _paste(self, image: Image, cell: int, rng: np.random.Generator) -> tuple[int, Box]:
        """Put some digit, enlarged to fill it, into a cell of the canvas."""
        index = int(rng.integers(len(self.digits)))
        digit = np.kron(self.images[index], np.ones((2, 2), np.float32))
        top, left = (CELL * place for place in divmod(cell, PER_ROW))
        image[top : top + CELL, left : left + CELL] = digit
        return int(self.digits[index]), ink_box(digit, left, top)


def ink_box(digit: Image, left: int, top: int) -> Box:
    """The norm1000 box x1, y1, x2, y2 of a pasted digit's ink."""
    rows, columns = np.nonzero(digit)
    x1, x2 = left + int(columns.min()), left + int(columns.max()) + 1
    y1, y2 = top + int(rows.min()), top + int(rows.max()) + 1
    return to_bin(x1), to_bin(y1), to_bin(x2), to_bin(y2)


def to_bin(pixel: int) -> int:
    """Thousandths of the canvas; its far edge falls into the last bin."""
    return min(pixel * BINS // CANVAS, BINS - 1)
