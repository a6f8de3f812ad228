"""The keys that the two seed documents name, read from their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

SEEDS = Path(__file__).parents[2].parent / "shared" / "seeds"
KEY_REFERENCE = "metrics_and_losses.md"
TYPES_DESIGN = "token_type_metrics_design.md"

_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def present() -> bool:
    """Whether the seed documents lie beside this checkout."""
    return (SEEDS / KEY_REFERENCE).is_file() and (SEEDS / TYPES_DESIGN).is_file()


def spans(document: str) -> Iterator[tuple[int, str]]:
    """Line number and text of everything between backticks."""
    lines = (SEEDS / document).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        for span in re.findall(r"`([^`]+)`", line):
            yield number, span


def expand(span: str) -> list[str]:
    """Every spelling that ``a/{b,c}`` or ``a_total|mean`` stands for.

    >>> expand("rollout/len_mean|p90"), expand("{desc,coord}_token_acc|entropy")
    (['rollout/len_mean', 'rollout/len_p90'],
     ['desc_token_acc', 'coord_token_acc', 'desc_entropy', 'coord_entropy'])
    """
    head, *others = span.split("|")
    cut = head.rindex("}_") + 1 if "}_" in head else head.rfind("_")
    stem = head[: cut + 1]
    return [key for part in (head, *(stem + other for other in others)) for key in _braced(part)]


def _braced(text: str) -> list[str]:
    pieces = _BRACES.split(text)
    choices = [piece.split(",") if at % 2 else [piece] for at, piece in enumerate(pieces)]
    return ["".join(choice) for choice in product(*choices)]


def wildcard(key: str) -> str:
    """``key`` with its placeholders as ``*``.

    >>> wildcard("coord_diag/<prov>/acc_top5"), wildcard("..._at_gt_coord")
    ('coord_diag/*/acc_top5', '*_at_gt_coord')
    """
    return re.sub(r"<[^<>]*>", "*", key).replace("...", "*")


def mentioned(document: str, line: int) -> list[str]:
    """What a line names, expanded, with placeholders as ``*``."""
    return [wildcard(key) for at, span in spans(document) if at == line for key in expand(span)]


def cited(source: str) -> list[tuple[str, int]]:
    """The document and lines that a metric's source names."""
    document, _, lines = source.partition(":")
    return [(document, int(line)) for line in lines.split(",")]


def matches(name: str, patterns: list[str]) -> bool:
    """Whether a pattern means ``name``; a condition on a key mentions the key."""
    return any(fnmatchcase(name, pattern.split(" ")[0]) for pattern in patterns)
