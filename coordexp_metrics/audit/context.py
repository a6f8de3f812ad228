"""What is known of a run beside its numbers: told on the command line, or written in its header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["VARIANTS", "Context", "Setting", "Variant"]

Variant: TypeAlias = Literal["stage1", "stage2_two_channel", "stage2_rollout_aligned"]
Setting: TypeAlias = str | float | bool
VARIANTS: tuple[Variant, ...] = ("stage1", "stage2_two_channel", "stage2_rollout_aligned")
# Where a header may say which trainer ran.
VARIANT_NAMES = ("custom.trainer_variant", "variant")
SECTIONS = ("parameters", "run", "pipeline")
# Names that mean nothing without what stands before them.
GENERIC = frozenset({"enabled", "weight"})
MAX_SETTINGS = 10_000


@dataclass(frozen=True)
class Context:
    """The trainer variant and the settings of a run.

    Attributes:
        variant: which trainer ran, None where that is not known.
        settings: settings by dotted name, such as ``custom.token_type_metrics.log_top5``.

    >>> Context(settings={"n_softctx_iter": 1.0}).setting("stage2_ab.n_softctx_iter")
    1.0
    """

    variant: Variant | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def setting(self, name: str) -> Setting | None:
        """The setting called ``name``; either side may leave out the beginning of its name."""
        for known, value in self.settings.items():
            if known == name or known.endswith(f".{name}"):
                return value
            if name.endswith(f".{known}") and known not in GENERIC:
                return value
        return None

    def with_header(self, header: Mapping[str, Any]) -> Context:
        """This context and what a log's header says; what was told counts more."""
        written = dict(_flat({name: header.get(name) for name in SECTIONS}))
        known = Context(settings={**written, **self.settings})
        variant = self.variant
        for name in VARIANT_NAMES:
            found = known.setting(name)
            variant = variant or next((each for each in VARIANTS if each == found), None)
        return Context(variant, known.settings)


def _flat(data: Mapping[str, Any]) -> Iterator[tuple[str, Setting]]:
    """Dotted names of what lies in mappings; lists are no settings."""
    waiting: list[tuple[str, Any]] = [("", data)]
    for _ in range(MAX_SETTINGS):
        if not waiting:
            return
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [
                (f"{name}.{key}" if name else str(key), part) for key, part in value.items()
            ]
        elif isinstance(value, (str, int, float)):
            yield name.partition(".")[2], value
