"""A picture shows every object once: matched pairs, what was missed, and what is not there.

Each picture is an SVG that needs nothing else: a plain canvas with the image's aspect, or the image
itself. Predictions are drawn solid, ground truth dashed. Labels stand where they cover least.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple
from unicodedata import east_asian_width

from .canvas import outline
from .describe import normalize_description
from .files import RolloutRecord
from .objects import BINS, DetectedObject, ObjectMatch

__all__ = ["picture"]

LONG_SIDE, HEAD, EDGE = 1000.0, 78.0, 16.0
LEAST_WIDTH = 620.0
FONT, LETTER, LINE, LONGEST = 13, 6.8, 19.0, 34
GREEN, AMBER, MAGENTA, INK = "#00764f", "#b45309", "#b5179e", "#1f2328"
TYPES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".gif": "gif"}
LEGEND = (
    (GREEN, "", "matched prediction, IoU"),
    (GREEN, "5 4", "its ground truth"),
    (AMBER, "9 5", "missed"),
    (MAGENTA, "", "false"),
)


class _Box(NamedTuple):
    x1: float
    y1: float
    x2: float
    y2: float

    def moved(self, x: float, y: float) -> _Box:
        return _Box(self.x1 + x, self.y1 + y, self.x2 + x, self.y2 + y)

    def covers(self, other: _Box) -> float:
        across = min(self.x2, other.x2) - max(self.x1, other.x1)
        down = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(across, 0.0) * max(down, 0.0)

    @property
    def area(self) -> float:
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2


class _Mark(NamedTuple):
    """One outline: its corners in the picture, and how it is drawn."""

    points: list[tuple[float, float]]
    colour: str
    dash: str
    width: float
    label: str

    @property
    def box(self) -> _Box:
        xs, ys = zip(*self.points, strict=True)
        return _Box(min(xs), min(ys), max(xs), max(ys))


def picture(record: RolloutRecord, match: ObjectMatch, photo: Path | None = None) -> str:
    """The SVG of one matched record; ``photo`` is the image to draw over."""
    scale = LONG_SIDE / max(record.width, record.height)
    frame = _Box(0, 0, max(record.width * scale, 1.0), max(record.height * scale, 1.0))
    marks = list(_marks(record, match, frame))
    width = max(frame.x2, LEAST_WIDTH) + 2 * EDGE
    height = frame.y2 + HEAD + EDGE
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="{FONT}">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *_head(record, match),
        f'<g transform="translate({EDGE:.0f} {HEAD:.0f})">',
        f'<rect width="{frame.x2:.1f}" height="{frame.y2:.1f}" fill="#f6f8fa" stroke="#d0d7de"/>',
        *_photo(photo, frame),
        *(_shape(mark) for mark in marks),
        *_links(record, match, frame),
        *_labels([mark for mark in marks if mark.label], frame),
        "</g>",
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _marks(record: RolloutRecord, match: ObjectMatch, frame: _Box) -> Iterator[_Mark]:
    """Ground truth first, so that predictions lie above it."""
    truths, found = record.ground_truth, record.predictions
    rows = [(truths[j], GREEN, "5 4", 1.6, "") for _, j in match.pairs]
    rows += [(truths[j], AMBER, "9 5", 2.2, _short(truths[j].desc)) for j in match.fn]
    rows += [(found[i], MAGENTA, "", 2.2, _short(found[i].desc)) for i in match.fp]
    for (i, j), iou in zip(match.pairs, match.maskious, strict=True):
        rows.append((found[i], GREEN, "", 2.2, _paired(found[i], truths[j], iou)))
    for thing, colour, dash, width, label in rows:
        points = _placed(thing, frame)
        if points:
            yield _Mark(points, colour, dash, width, label)


def _placed(thing: DetectedObject, frame: _Box) -> list[tuple[float, float]]:
    points = outline(thing) or []
    x, y = frame.x2 / (BINS - 1), frame.y2 / (BINS - 1)
    return [(a * x, b * y) for a, b in zip(points[::2], points[1::2], strict=True)]


def _paired(found: DetectedObject, truth: DetectedObject, iou: float) -> str:
    same = normalize_description(found.desc) == normalize_description(truth.desc)
    name = _short(found.desc) if same else f"{_short(found.desc, 16)} ≠ {_short(truth.desc, 16)}"
    return f"{name} {iou:.2f}"


def _short(text: str, longest: int = LONGEST) -> str:
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _shape(mark: _Mark) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
    dash = f' stroke-dasharray="{mark.dash}"' if mark.dash else ""
    return (
        f'<polygon points="{points}" fill="{mark.colour}" fill-opacity="0.04" '
        f'stroke="{mark.colour}" stroke-width="{mark.width}"{dash}/>'
    )


def _links(record: RolloutRecord, match: ObjectMatch, frame: _Box) -> Iterator[str]:
    """From the centre of a prediction to that of its ground truth."""
    for i, j in match.pairs:
        ends = [
            _Mark(_placed(thing, frame), GREEN, "", 1.0, "").box.centre
            for thing in (record.predictions[i], record.ground_truth[j])
        ]
        (x1, y1), (x2, y2) = ends
        yield f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GREEN}"/>'
        yield f'<circle cx="{x1:.1f}" cy="{y1:.1f}" r="2.5" fill="{GREEN}"/>'


def _labels(marks: list[_Mark], frame: _Box) -> Iterator[str]:
    """The smallest objects choose first: they have the fewest places."""
    placed: list[_Box] = []
    for mark in sorted(marks, key=lambda one: one.box.area):
        size = _Box(0, 0, _width(mark.label) + 10, LINE)
        place = min(_places(mark.box, size, frame), key=lambda p: sum(map(p.covers, placed)))
        placed.append(place)
        yield (
            f'<rect x="{place.x1:.1f}" y="{place.y1:.1f}" width="{size.x2:.1f}" height="{LINE}" '
            f'rx="3" fill="{mark.colour}" fill-opacity="0.9"/>'
            f'<text x="{place.x1 + 5:.1f}" y="{place.y1 + 14:.1f}" fill="#ffffff">'
            f"{escape(mark.label)}</text>"
        )


def _places(box: _Box, size: _Box, frame: _Box) -> Iterator[_Box]:
    """Where a label may stand: outside above and below, inside, then down and along the sides."""
    right = box.x2 - size.x2
    for y in (box.y1 - LINE, box.y2, box.y1, box.y2 - LINE):
        for x in (box.x1, right, (box.x1 + right) / 2):
            yield _inside(size.moved(x, y), frame)
    rows = int((box.y2 - box.y1) // LINE)
    for row in range(1, min(rows, 40)):
        for x in (box.x1, right, box.x2, box.x1 - size.x2):
            yield _inside(size.moved(x, box.y1 + row * LINE), frame)


def _inside(box: _Box, frame: _Box) -> _Box:
    right = min(0.0, frame.x2 - box.x2)
    down = min(0.0, frame.y2 - box.y2)
    return box.moved(max(right, -box.x1), max(down, -box.y1))


def _width(text: str) -> float:
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    return LETTER * (len(text) + 0.8 * wide)


def _head(record: RolloutRecord, match: ObjectMatch) -> Iterator[str]:
    name = _short(f"{record.path.name}:{record.line}  {record.image}", 100)
    pairs, found, truth = len(match.pairs), len(record.predictions), len(record.ground_truth)
    mean = f", mean IoU {match.maskiou_sum / pairs:.2f}" if pairs else ""
    counts = f"{found} predicted, {truth} true, {pairs} matched{mean}"
    lost = sum(outline(o) is None for o in (*record.predictions, *record.ground_truth))
    counts += f"; {lost} cannot be drawn" if lost else ""
    yield f'<g fill="{INK}"><text x="{EDGE}" y="24" font-weight="bold">{escape(name)}</text>'
    yield f'<text x="{EDGE}" y="44">{escape(counts)}</text>'
    x = EDGE
    numbers = (pairs, pairs, len(match.fn), len(match.fp))
    for (colour, dash, meaning), number in zip(LEGEND, numbers, strict=True):
        text = f"{meaning} ({number})"
        yield (
            f'<line x1="{x:.1f}" y1="62" x2="{x + 26:.1f}" y2="62" stroke="{colour}" '
            f'stroke-width="2.4" stroke-dasharray="{dash or "none"}"/>'
            f'<text x="{x + 32:.1f}" y="66">{text}</text>'
        )
        x += 32 + _width(text) + 12
    yield "</g>"


def _photo(photo: Path | None, frame: _Box) -> Iterator[str]:
    if photo is not None and photo.suffix.lower() in TYPES:
        data = b64encode(photo.read_bytes()).decode("ascii")
        kind = TYPES[photo.suffix.lower()]
        yield (
            f'<image href="data:image/{kind};base64,{data}" width="{frame.x2:.1f}" '
            f'height="{frame.y2:.1f}" preserveAspectRatio="none" opacity="0.75"/>'
        )
