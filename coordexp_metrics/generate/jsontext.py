"""JSON as people read it: two spaces in, and on one line whatever fits there."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["json_text"]

WIDTH = 100


def json_text(data: Any) -> str:
    """``data`` as a JSON document, the same text for the same data.

    >>> print(json_text({"bounds": [0, None]}), end="")
    {"bounds": [0, null]}
    """
    return _broken(data, 0, 0) + "\n"


def _broken(data: Any, indent: int, taken: int) -> str:
    flat = json.dumps(data, ensure_ascii=False, allow_nan=False)
    if not isinstance(data, (dict, list)) or len(flat) + taken + 1 <= WIDTH:
        return flat
    inner = indent + 2
    if isinstance(data, dict):
        heads = [json.dumps(name, ensure_ascii=False) + ": " for name in data]
        parts, (first, last) = list(data.values()), "{}"
    else:
        heads, parts, (first, last) = [""] * len(data), data, "[]"
    lines = [
        " " * inner + head + _broken(part, inner, inner + len(head))
        for head, part in zip(heads, parts, strict=True)
    ]
    return first + "\n" + ",\n".join(lines) + "\n" + " " * indent + last
