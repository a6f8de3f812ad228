"""How many letters lie between two spellings: insertions, losses, changes and swaps of two."""

from __future__ import annotations

__all__ = ["distance"]


def distance(one: str, other: str, most: int) -> int:
    """The edits from ``one`` to ``other``, or ``most`` + 1 where there are more than ``most``.

    >>> distance("rolout/f1", "rollout/f1", 2), distance("loss", "recall", 2)
    (1, 3)
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        previous, row, before_last = row, [i], before
        for j, expected in enumerate(other, 1):
            cost = min(row[j - 1] + 1, previous[j] + 1, previous[j - 1] + (letter != expected))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == expected:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before = previous
    return min(row[-1], most + 1)
