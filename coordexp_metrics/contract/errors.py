"""Every error says what, where and the way out, and carries its parts as fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = [
    "DeclarationError",
    "MetricsError",
    "MissingExtraError",
    "ObservationError",
    "PayloadError",
    "Problem",
    "RankError",
    "RemovedKeyError",
    "SchemaVersionError",
    "SinkError",
    "UnknownKeyError",
    "safe_text",
]


def safe_text(value: object, limit: int = 80) -> str:
    """``value`` as printable ASCII of at most ``limit`` characters, whatever it holds.

    A key or value from outside reaches a terminal, a log or a page only through here.

    >>> safe_text("loss\\x1b[2J")
    "'loss\\\\x1b[2J'"
    >>> safe_text("a" * 100, limit=10)
    "'aaaaaa..."
    """
    if isinstance(value, str):
        text = ascii(str.__str__(value[:limit]))
    elif type(value) in {int, float, bool, type(None), bytes}:
        text = ascii(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge int"
    else:
        text = f"<{type(value).__module__}.{type(value).__qualname__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


class MetricsError(Exception):
    """The root: catch this to catch everything that the package raises on purpose."""


class DeclarationError(MetricsError, ValueError):
    """The catalogue cannot be right. Raised while it is built, never during a run."""


class UnknownKeyError(MetricsError, KeyError):
    """No such metric.

    Attributes:
        key: the key that was asked for.
        near: declared keys with a similar spelling, best first.
    """

    def __init__(self, key: str, near: Sequence[str] = ()) -> None:
        self.key = key
        self.near = tuple(near)
        super().__init__(key)

    def __str__(self) -> str:
        hint = f"; did you mean {self.near[0]!r}?" if self.near else ""
        return f"{safe_text(self.key)} is not in the catalogue{hint}"


class RemovedKeyError(UnknownKeyError):
    """The key existed once and was removed.

    Attributes:
        replacements: the keys that carry its meaning now, or the nearest to it.
    """

    def __init__(self, key: str, replacements: Sequence[str] = ()) -> None:
        super().__init__(key, replacements)
        self.replacements = tuple(replacements)

    def __str__(self) -> str:
        instead = f"; use {', '.join(self.replacements)}" if self.replacements else ""
        return f"{safe_text(self.key)} was removed from the contract{instead}"


class ObservationError(MetricsError, ValueError):
    """A statistic that its metric cannot take.

    Attributes:
        metric: the key of the metric.
        argument: which argument of ``observe`` is at fault.
        value: what was given.
    """

    def __init__(self, metric: str, argument: str, value: object, why: str) -> None:
        self.metric = metric
        self.argument = argument
        self.value = value
        super().__init__(f"{metric}: {argument} {why}; got {safe_text(value)}")


class Problem(NamedTuple):
    """One thing that is wrong in a payload: its code, where it stands, and what to do."""

    code: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class PayloadError(MetricsError, ValueError):
    """A payload that the contract refuses.

    Attributes:
        problems: all of them, each with a code and a path such as ``metrics['loss']``.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(str(problem) for problem in self.problems[:3])
        more = f" (and {len(self.problems) - 3} more)" if len(self.problems) > 3 else ""
        super().__init__(shown[:480] + more)

    @property
    def code(self) -> str:
        """The code of the first problem."""
        return self.problems[0].code if self.problems else "payload"

    @property
    def path(self) -> str:
        """The path of the first problem."""
        return self.problems[0].path if self.problems else "payload"


class SchemaVersionError(PayloadError):
    """``schema_version`` is missing, no integer, or a major that this package cannot read.

    Attributes:
        found: what stood there, or None.
        supported: the majors that can be read.
    """

    def __init__(
        self, problems: Iterable[Problem], found: object = None, supported: tuple[int, ...] = (1,)
    ) -> None:
        super().__init__(problems)
        self.found = found
        self.supported = supported


class RankError(MetricsError, RuntimeError):
    """Ranks that do not agree, or one that is missing.

    Attributes:
        rank: the rank at fault.
        world_size: the size of its group.
    """

    def __init__(self, message: str, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        super().__init__(message)


class SinkError(MetricsError, RuntimeError):
    """A sink that cannot be opened or written.

    Attributes:
        sink: the name of the sink.
    """

    def __init__(self, message: str, sink: str) -> None:
        self.sink = sink
        super().__init__(message)


class MissingExtraError(SinkError, ImportError):
    """An optional dependency that is not installed.

    Attributes:
        extra: the name of the extra that brings it.
    """

    def __init__(self, extra: str, needed_by: str) -> None:
        self.extra = extra
        super().__init__(
            f"{needed_by} needs an optional dependency: pip install 'coordexp-metrics[{extra}]'",
            sink=needed_by,
        )
