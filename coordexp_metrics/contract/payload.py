"""The versioned payload: ``schema_version`` 1, ``mode``, ``global_step``, ``metrics``.

Two doors lead in, and take the same payloads: ``Payload.parse`` for files and tests, which lets
pydantic collect every problem, and ``open_envelope`` for ``emit``, which compares exact types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .errors import Problem, safe_text
from .keys import MAX_KEY_LENGTH, well_formed
from .metric import Mode
from .record import NONFINITE

__all__ = ["MAX_KEYS", "MAX_STEP", "SCHEMA_VERSION", "Payload", "open_envelope"]

SCHEMA_VERSION = 1
SUPPORTED_VERSIONS = (1,)
MAX_STEP = 2**63 - 1
MAX_KEYS = 4096
SECTIONS = frozenset(
    {"schema_version", "mode", "global_step", "metrics", "nonfinite", "coverage", "dataset"}
)
_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Payload:
    """One closed window, under train names (``metrics_and_losses.md:11``).

    Attributes:
        mode: ``train`` or ``eval``.
        global_step: the optimizer step, 0 to 2**63 - 1.
        metrics: finite numbers by key.
        nonfinite: keys whose value is ``nan``, ``inf`` or ``-inf``.
        coverage: world_size, missing_ranks, steps and scope of the window.
        dataset: the name of the evaluation set.
        extra: unknown further sections, kept as they came.
        schema_version: the major version of this envelope.
    """

    mode: Mode
    global_step: int
    metrics: Mapping[str, Any]
    nonfinite: Mapping[str, str] = field(default_factory=dict)
    coverage: Mapping[str, Any] | None = None
    dataset: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def parse(cls, payload: object, *, strict: bool = False) -> Payload:
        """A checked payload; NaN and infinities move from ``metrics`` to ``nonfinite``.

        Args:
            payload: a mapping with the four required sections.
            strict: whether an unknown section is an error.

        Raises:
            SchemaVersionError: ``schema_version`` is missing, no int, or not supported.
            PayloadError: anything else is wrong; ``.problems`` holds all of it.

        >>> Payload.parse({"schema_version": 1, "mode": "train", "global_step": 7,
        ...                "metrics": {"loss": float("nan")}}).nonfinite
        {'loss': 'nan'}
        """
        from .payload_model import parse

        return parse(payload, strict=strict)

    def to_dict(self) -> dict[str, Any]:
        """The payload as JSON data."""
        data: dict[str, Any] = {
            "schema_version": self.schema_version,
            "mode": self.mode,
            "global_step": self.global_step,
            "metrics": dict(self.metrics),
        }
        optional = {"nonfinite": dict(self.nonfinite), "coverage": self.coverage}
        data |= {name: value for name, value in optional.items() if value}
        if self.dataset is not None:
            data["dataset"] = self.dataset
        return data | dict(self.extra)


def open_envelope(payload: object) -> tuple[Payload | None, list[Problem]]:
    """The envelope of ``payload`` with its metrics unchecked, or None and what is wrong with it."""
    if type(payload) is Payload:
        return payload, []
    if not isinstance(payload, Mapping):
        return None, [Problem("payload.type", "payload", f"is {safe_text(payload)}, not a mapping")]
    sections = dict(islice(payload.items(), MAX_KEYS))
    problems = [
        *version_problems(sections.get("schema_version", _MISSING)),
        *mode_problems(sections.get("mode", _MISSING)),
        *step_problems(sections.get("global_step", _MISSING)),
        *metrics_problems(sections.get("metrics", _MISSING)),
        *nonfinite_problems(sections.get("nonfinite")),
        *optional_problems(sections),
    ]
    if problems:
        return None, problems
    return Payload(
        mode=sections["mode"],
        global_step=sections["global_step"],
        metrics=sections["metrics"],
        nonfinite=sections.get("nonfinite") or {},
        coverage=sections.get("coverage"),
        dataset=sections.get("dataset"),
        extra={name: value for name, value in sections.items() if name not in SECTIONS},
    ), []


def version_problems(found: object) -> list[Problem]:
    """What is wrong with a ``schema_version`` (``metrics_and_losses.md:13``)."""
    supported = ", ".join(map(str, SUPPORTED_VERSIONS))
    if found is _MISSING:
        why = f"is missing; this package reads version {supported}"
        return [Problem("schema_version.missing", "schema_version", why)]
    if type(found) is not int:
        why = f"must be an int, not {safe_text(found)}; this package reads version {supported}"
        return [Problem("schema_version.type", "schema_version", why)]
    if found not in SUPPORTED_VERSIONS:
        why = f"{safe_text(found)} is not supported; this package reads version {supported}"
        return [Problem("schema_version.unsupported", "schema_version", why)]
    return []


def mode_problems(found: object) -> list[Problem]:
    """What is wrong with a ``mode``."""
    if found is _MISSING:
        return [Problem("mode.missing", "mode", "is missing; it is 'train' or 'eval'")]
    if type(found) is not str or found not in {"train", "eval"}:
        why = f"must be 'train' or 'eval', not {safe_text(found)}"
        return [Problem("mode.value", "mode", why)]
    return []


def step_problems(found: object) -> list[Problem]:
    """What is wrong with a ``global_step``."""
    if found is _MISSING:
        return [Problem("global_step.missing", "global_step", "is missing")]
    if type(found) is not int:
        why = f"must be an int, not {safe_text(found)}; convert it where the trainer hands it over"
        return [Problem("global_step.type", "global_step", why)]
    if not 0 <= found <= MAX_STEP:
        return [Problem("global_step.range", "global_step", "must lie in 0..2**63-1")]
    return []


def metrics_problems(found: object) -> list[Problem]:
    """What is wrong with the ``metrics`` section as a whole."""
    if found is _MISSING:
        return [Problem("metrics.missing", "metrics", "is missing; an empty mapping is allowed")]
    if not isinstance(found, Mapping):
        return [Problem("metrics.type", "metrics", f"is {safe_text(found)}, not a mapping")]
    if len(found) > MAX_KEYS:
        why = f"holds {len(found)} keys; the cap is {MAX_KEYS}"
        return [Problem("metrics.too_many", "metrics", why)]
    return []


def nonfinite_problems(found: object) -> list[Problem]:
    """What is wrong with a ``nonfinite`` section."""
    if found is None:
        return []
    if not isinstance(found, Mapping) or len(found) > MAX_KEYS:
        why = "must be a mapping from keys to 'nan', 'inf' or '-inf'"
        return [Problem("nonfinite.type", "nonfinite", why)]
    return [
        Problem("nonfinite.value", f"nonfinite[{safe_text(key)}]", "must be 'nan', 'inf' or '-inf'")
        for key, text in found.items()
        if not well_formed(key) or type(text) is not str or text not in NONFINITE
    ]


def optional_problems(sections: Mapping[Any, Any]) -> list[Problem]:
    """What is wrong with ``coverage``, ``dataset`` and the names of further sections."""
    problems = []
    coverage, dataset = sections.get("coverage"), sections.get("dataset")
    if coverage is not None and not isinstance(coverage, Mapping):
        problems.append(Problem("coverage.type", "coverage", "must be a mapping"))
    if dataset is not None and (type(dataset) is not str or len(dataset) > MAX_KEY_LENGTH):
        problems.append(Problem("dataset.type", "dataset", "must be a short string"))
    if any(type(name) is not str for name in sections):
        problems.append(Problem("payload.section", "payload", "has a section whose name is no str"))
    return problems
