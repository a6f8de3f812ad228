"""What typing a payload of 4,000 tokens costs, against a loop over its characters.

Both know the tokenizer's ids and offsets; tokenising costs both the same and is printed apart. The
loop types each character as it passes and then counts the types in each token.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from coordexp_metrics.token_types import (
    COORD,
    DESC,
    FORMAT,
    compute_token_types,
    qwen_tokenizer,
    write_coordjson,
)
from coordexp_metrics.token_types.compute import majority
from coordexp_metrics.token_types.spelling import Spelling

TOKENS = 4000
REPEATS = 30
WORDS = ["red", "small", "dog", "person", "chair", "bicycle", "traffic light", "红色", "狗", "café"]


def payload_of(objects: int) -> dict[str, Any]:
    """Objects with descriptions of a few words."""
    rng = random.Random(0)
    return {
        "objects": [
            {
                "desc": " ".join(rng.choices(WORDS, k=rng.randint(1, 5))),
                "bbox_2d": rng.sample(range(1000), 4),
            }
            for _ in range(objects)
        ]
    }


def by_characters(text: str, offsets: list[tuple[int, int]]) -> list[int]:
    """The loop: a small automaton over characters, then a count over each token's characters."""
    types, inside, key, string, coordinate = [], False, "", "", False
    for place, letter in enumerate(text):
        if inside:
            closing = letter == '"' and text[place - 1] != "\\"
            types.append(DESC if key == "desc" and not closing else FORMAT)
            inside = not closing
            if closing:
                key = "" if key == "desc" else string
            else:
                string += letter
        elif letter == '"':
            inside, string = True, ""
            types.append(FORMAT)
        else:
            coordinate = coordinate or letter == "<"
            types.append(COORD if coordinate else FORMAT)
            coordinate = coordinate and letter != ">"
    found = []
    for start, stop in offsets:
        counts = {COORD: 0, DESC: 0, FORMAT: 0}
        for place in range(start, stop):
            counts[types[place]] += 1
        found.append(max(counts, key=counts.__getitem__))
    return found


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Print the table."""
    spelling = Spelling.of(qwen_tokenizer())
    objects = 1
    while len(spelling.encode(write_coordjson(payload_of(objects)).text)[0]) < TOKENS:
        objects += 1
    payload = payload_of(objects)
    text, types = write_coordjson(payload)
    ids, offsets = spelling.encode(text)
    pairs = [tuple(pair) for pair in offsets.tolist()]
    assert majority(types, offsets).tolist() == by_characters(text, pairs)
    found: dict[str, list[float]] = {"loop": [], "ours": [], "spelling": [], "ids": [], "all": []}
    for _ in range(REPEATS):
        found["loop"].append(timed(lambda: by_characters(text, pairs)))
        found["ours"].append(timed(lambda: majority(types, offsets)))
        found["spelling"].append(timed(lambda: write_coordjson(payload)))
        found["ids"].append(timed(lambda: spelling.encode(text)))
        found["all"].append(timed(lambda: compute_token_types(spelling, payload, ids)))
    median = {name: statistics.median(values) for name, values in found.items()}
    print(f"tokens, characters                 {len(ids)}, {len(text)}")
    print(f"loop over characters               {median['loop']:8.3f} ms")
    print(f"types from offsets                 {median['ours']:8.3f} ms")
    ratio = median["loop"] / median["ours"]
    print(f"ratio                              {ratio:8.1f} x   (target: 20)")
    both = median["ours"] + median["spelling"]
    print(f"with the spelling of the payload   {both:8.3f} ms, {median['loop'] / both:.1f} x")
    print(f"the tokenizer's own work           {median['ids']:8.3f} ms")
    print(f"compute_token_types, all of it     {median['all']:8.3f} ms")


if __name__ == "__main__":
    np.seterr(all="raise")
    main()
