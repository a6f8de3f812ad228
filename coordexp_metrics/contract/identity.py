"""A run's identity: what it optimises and diagnoses, apart from where and how often it runs.

The checksum covers ``objective``, ``diagnostics`` and the semantic ``extra``; the order of modules
counts, the order of dict keys does not, and run context (config, run name, seed) is logged beside
it (``metrics_and_losses.md:44``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import DeclarationError

__all__ = ["RUN_CONTEXT", "PipelineIdentity", "canonical_json", "pipeline_checksum"]

RUN_CONTEXT = frozenset({"config", "run_name", "seed"})


def canonical_json(data: object) -> bytes:
    """``data`` as RFC 8785 canonical JSON.

    Raises:
        DeclarationError: something in it is no JSON, such as NaN or an int beyond 2**53.

    >>> canonical_json({"b": 1.0, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    import rfc8785

    try:
        return rfc8785.dumps(data)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise DeclarationError(f"cannot be written as canonical JSON: {error}") from error


def pipeline_checksum(
    objective: Sequence[Any],
    diagnostics: Sequence[Any] = (),
    extra: Mapping[str, Any] | None = None,
) -> str:
    """SHA-256 of the resolved pipeline, as 64 hex digits (``metrics_and_losses.md:46``).

    Args:
        objective: the resolved objective modules, in order; names or mappings.
        diagnostics: the resolved diagnostics modules, in order.
        extra: semantic settings, such as ``variant``. Run context in it is left out.

    Raises:
        DeclarationError: something in it is no JSON.

    >>> a = pipeline_checksum([{"name": "token_ce", "weight": 1.0}], extra={"seed": 1})
    >>> a == pipeline_checksum([{"weight": 1.0, "name": "token_ce"}], extra={"seed": 2})
    True
    """
    return PipelineIdentity(tuple(objective), tuple(diagnostics), dict(extra or {})).checksum


@dataclass(frozen=True)
class PipelineIdentity:
    """The resolved module lists of a run and the settings that change what they mean.

    Attributes:
        objective, diagnostics: the modules, in order; names or mappings.
        extra: semantic settings, such as ``variant``.
        context: config, run name and seed, which are logged beside the identity.
    """

    objective: tuple[Any, ...]
    diagnostics: tuple[Any, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_data(self) -> dict[str, Any]:
        """The hashed part, as JSON data."""
        semantic = {key: value for key, value in self.extra.items() if key not in RUN_CONTEXT}
        return {
            "objective": list(self.objective),
            "diagnostics": list(self.diagnostics),
            "extra": semantic,
        }

    @property
    def checksum(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.to_data())).hexdigest()

    def to_record(self) -> dict[str, Any]:
        """What a trainer logs at its start: checksum, module lists and, apart, the run context.

        >>> PipelineIdentity(("token_ce",), context={"seed": 7}).to_record()["run_context"]
        {'seed': 7}
        """
        context = {key: value for key, value in self.extra.items() if key in RUN_CONTEXT}
        return {
            "pipeline_checksum": self.checksum,
            **self.to_data(),
            "run_context": {**context, **self.context},
        }
