"""What could not be read: the first few of each code in full, and exact counts of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from ...contract.errors import MetricsError, safe_text

__all__ = ["Problems", "ReadProblem", "Say", "SourceError"]

# Takes the code of a problem, what is wrong, the byte, and the number of the record.
Say: TypeAlias = Callable[[str, str, int, int], None]


class ReadProblem(NamedTuple):
    """One thing that could not be read.

    Attributes:
        code: what is wrong, such as ``json.syntax``.
        path: the file.
        line: the line, from 1; 0 where it is about the whole file.
        offset: the byte in the file, from 0.
        message: what was found, as printable ASCII.
    """

    code: str
    path: str
    line: int
    offset: int
    message: str

    def __str__(self) -> str:
        path = safe_text(self.path, 400)[1:-1]
        where = f"{path}:{self.line} (byte {self.offset})" if self.line else path
        return f"{where}: {self.message}"


class SourceError(MetricsError, ValueError):
    """A source that cannot be read at all.

    Attributes:
        problem: what is wrong with it.
    """

    def __init__(self, code: str, path: str, message: str) -> None:
        self.problem = ReadProblem(code, path, 0, 0, message)
        super().__init__(str(self.problem))


class Problems:
    """The problems of one reading. Iterates over those that were kept; ``len`` counts all.

    >>> problems = Problems(shown=1)
    >>> for line in (1, 2):
    ...     problems.add(ReadProblem("json.syntax", "a.jsonl", line, 0, "is no JSON"))
    >>> [problem.line for problem in problems], len(problems), problems.counts["json.syntax"]
    ([1], 2, 2)
    """

    def __init__(self, shown: int = 20) -> None:
        self.counts: Counter[str] = Counter()
        self._shown = shown
        self._kept: list[ReadProblem] = []

    def add(self, problem: ReadProblem) -> None:
        """Count ``problem``, and keep it if it is among the first of its code."""
        self.counts[problem.code] += 1
        if self.counts[problem.code] <= self._shown:
            self._kept.append(problem)

    def __iter__(self) -> Iterator[ReadProblem]:
        return iter(self._kept)

    def __len__(self) -> int:
        return self.counts.total()

    def __repr__(self) -> str:
        return f"<Problems {dict(self.counts)}>"
