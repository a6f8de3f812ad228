"""What parsing a rollout costs, against json.loads of the same text with its coordinates quoted.

json.loads is C and checks less; it is the yardstick, not the aim. A hostile text is measured by
what ten times the text costs: 10 is linear.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable

from coordexp_metrics.rollouts import DetectedObject, parse_rollout, render_rollout

REPEATS = 15
OPEN = '{"objects": ['
HOSTILE = {
    "open brackets": "[",
    "open braces": "{",
    "quotes": '"',
    "backslashes": "\\",
    "descriptions": '{"desc": "',
    "alternating": "[{",
    "torn records": '{"desc": "5" pipe", "bbox_2d": []}, ',
    "torn strings": '"}, {"desc": ',
}


def rollout(count: int) -> str:
    """A valid answer of so many boxes."""
    rng = random.Random(0)

    def pair() -> list[int]:
        return sorted(rng.sample(range(1000), 2))

    things = []
    for k in range(count):
        (x1, x2), (y1, y2) = pair(), pair()
        things.append(DetectedObject("bbox_2d", (x1, y1, x2, y2), f"thing number {k}"))
    return render_rollout(things)


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def against_json(text: str) -> tuple[float, float]:
    """Median milliseconds of parsing and of json.loads, measured in turns."""
    quoted = text.replace("<|", '"<|').replace("|>", '|>"')
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(timed(lambda: parse_rollout(text)))
        theirs.append(timed(lambda: json.loads(quoted)))
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    """Print both tables."""
    broken = '{"desc": "5" pipe", "bbox_2d": [1]}'
    print("text                      parse_rollout   json.loads   ratio")
    for count in (20, 300, 3000):
        text = rollout(count)
        spoilt = f"{OPEN}{', '.join([broken] * count)}]}}"
        ours, theirs = against_json(text)
        worst = statistics.median(timed(lambda s=spoilt: parse_rollout(s)) for _ in range(REPEATS))
        print(
            f"{count:5} valid records     {ours:10.3f} ms {theirs:9.3f} ms {ours / theirs:6.1f} x"
        )
        print(f"{count:5} torn records      {worst:10.3f} ms")
    print("\nhostile text of 10 MB         parse_rollout   against 1 MB")
    for name, piece in HOSTILE.items():
        small, large = (OPEN + piece * (size // len(piece)) for size in (1 << 20, 10 << 20))
        one = min(timed(lambda s=small: parse_rollout(s)) for _ in range(3))
        ten = timed(lambda s=large: parse_rollout(s))
        print(f"{name:24} {ten:15.1f} ms {ten / one:10.1f} x")


if __name__ == "__main__":
    main()
