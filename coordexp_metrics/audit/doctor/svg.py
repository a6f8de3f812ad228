"""A series as inline SVG: the line as logged, what it should be, and the offenders as dots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ...contract.errors import safe_text
from .plots import Curve

__all__ = ["panel"]

LEFT, RIGHT, TOP, BOTTOM = 74, 14, 12, 26
DOTS = 80
LOG_FROM = 50.0


@dataclass(frozen=True)
class Frame:
    """Where a panel's numbers lie on it."""

    width: int
    height: int
    x: Callable[[float], float]
    y: Callable[[float], float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]


def panel(curve: Curve, width: int = 720, height: int = 190) -> str:
    """One series; a drawing of its own, for any background."""
    frame = _frame(curve, width, height)
    name = escape(safe_text(curve.key, 200))
    known = [e for e in curve.expected if e is not None]
    told = f"{name}: {len(curve.values)} points, {sum(curve.marked)} of them offend"
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{told}">',
        *_grid(frame),
        *([_line(frame, curve.steps, curve.expected, "should")] if known else []),
        _line(frame, curve.steps, curve.values, "series"),
        *_dots(frame, curve),
        "</svg>",
    ]
    return "".join(parts)


def _frame(curve: Curve, width: int, height: int) -> Frame:
    numbers = [*curve.values, *(e for e in curve.expected if e is not None)]
    first, last = min(curve.steps), max(curve.steps)
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low > LOG_FROM
    if logarithmic:
        ticks: Sequence[float] = _powers(low, high)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    else:
        ticks = _even(low, high, 4)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    place = math.log10 if logarithmic else float
    span = (place(high) - place(low)) or 1.0

    def y(value: float) -> float:
        return TOP + (height - TOP - BOTTOM) * (1 - (place(value) - place(low)) / span)

    def x(step: float) -> float:
        share = (step - first) / (last - first) if last > first else 0.5
        return LEFT + 8 + (width - LEFT - RIGHT - 16) * share

    steps = [t for t in _even(first, last, 6) if first <= t <= last and float(t).is_integer()]
    return Frame(width, height, x, y, steps or [first], ticks)


def _even(low: float, high: float, most: int) -> list[float]:
    """Round numbers around ``low`` .. ``high``."""
    if low == high:
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    size = next(n * power for n in (1, 2, 5, 10) if n * power >= raw)
    begin, end = math.floor(low / size), math.ceil(high / size)
    return [n * size for n in range(begin, min(end, begin + 12) + 1)]


def _powers(low: float, high: float) -> list[float]:
    begin, end = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, (end - begin) // 4)
    return [10.0**n for n in range(begin, end + stride, stride)]


def _grid(frame: Frame) -> Iterator[str]:
    right, floor = frame.width - RIGHT, frame.height - BOTTOM
    for tick in frame.y_ticks:
        y = frame.y(tick)
        if TOP - 1 <= y <= floor + 1:
            yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="y" x="{LEFT - 8}" y="{y + 4:.1f}">{_short(tick)}</text>'
    for tick in frame.x_ticks:
        yield f'<text class="x" x="{frame.x(tick):.1f}" y="{frame.height - 8}">{tick:.0f}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>'


def _short(value: float) -> str:
    if value and (abs(value) >= 1e7 or abs(value) < 1e-4):
        return f"{value:.0e}"
    return f"{value:.6g}"


def _line(frame: Frame, steps: Sequence[int], values: Sequence[float | None], kind: str) -> str:
    there = [(s, v) for s, v in zip(steps, values, strict=True) if v is not None]
    points = " ".join(f"{frame.x(s):.1f},{frame.y(v):.1f}" for s, v in there)
    return f'<polyline class="{kind}" points="{points}"/>'


def _dots(frame: Frame, curve: Curve) -> Iterator[str]:
    points = list(zip(curve.steps, curve.values, curve.marked, curve.expected, strict=True))
    few = len(points) <= DOTS
    for step, value, marked, expected in points:
        if not marked and not few:
            continue
        should = "" if expected is None else f", should be {expected:.10g}"
        title = f"<title>step {step}: {value:.10g}{should}</title>" if few else ""
        kind, radius = ("offender", 4 if few else 2.5) if marked else ("point", 2.5)
        x, y = frame.x(step), frame.y(value)
        yield f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>'
        if marked and expected is not None and few:
            y = frame.y(expected)
            yield f'<circle class="right" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
