"""The section ``custom.token_type_metrics``: what is typed, and what is logged of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from ..contract.errors import DeclarationError, safe_text

__all__ = ["TokenTypeConfig"]

SECTION = "custom.token_type_metrics"


@dataclass(frozen=True)
class TokenTypeConfig:
    """What to type.

    Args:
        enabled: whether tokens are typed at all.
        include: labels of datasets, in any case; one of them may stand alone.
        exclude: labels that are left out although they are included.
        log_top5: whether to log the top-5 accuracies.
        coord_monitor_mass: whether to log the masses of ``coord_monitor``.
        coord_monitor_mass_max_tokens: at most so many tokens of a micro-batch are read for them;
            0 reads all.

    Raises:
        DeclarationError: a value cannot be right; it says which.

    >>> TokenTypeConfig(enabled=True).includes("LVIS")
    True
    """

    enabled: bool = False
    include: tuple[str, ...] = ("lvis",)
    exclude: tuple[str, ...] = ()
    log_top5: bool = True
    coord_monitor_mass: bool = True
    coord_monitor_mass_max_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("enabled", "log_top5", "coord_monitor_mass"):
            if not isinstance(getattr(self, name), bool):
                raise _unusable(name, getattr(self, name), "true or false")
        for name in ("include", "exclude"):
            object.__setattr__(self, name, _labels(name, getattr(self, name)))
        most = self.coord_monitor_mass_max_tokens
        if not isinstance(most, int) or isinstance(most, bool) or most < 0:
            raise _unusable("coord_monitor_mass_max_tokens", most, "a whole number, 0 or more")

    @classmethod
    def from_mapping(cls, section: Mapping[str, Any]) -> TokenTypeConfig:
        """Read the section of a configuration file.

        Raises:
            DeclarationError: a key is unknown, with the nearest that is not; or a value is wrong.

        >>> TokenTypeConfig.from_mapping({"enabled": True, "include": ["lvis", "coco"]}).include
        ('lvis', 'coco')
        """
        known = [field.name for field in fields(cls)]
        for key in section:
            if key not in known:
                near = get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
                raise DeclarationError(f"{SECTION} has no key {safe_text(key)}; {hint}")
        return cls(**section)

    def includes(self, label: str | None) -> bool:
        """Whether samples of a dataset are typed: it is included and not excluded.

        >>> TokenTypeConfig(include=["a", "b"], exclude=["b"]).includes("b")
        False
        """
        if label is None:
            return False
        return label.lower() in self.include and label.lower() not in self.exclude

    @property
    def reducer_options(self) -> dict[str, Any]:
        """What the reducer of logits takes of it, by its own names.

        >>> TokenTypeConfig(log_top5=False).reducer_options["log_top5"]
        False
        """
        names = ("log_top5", "coord_monitor_mass", "coord_monitor_mass_max_tokens")
        return {name: getattr(self, name) for name in names}


def _labels(name: str, given: Any) -> tuple[str, ...]:
    labels = (given,) if isinstance(given, str) else given
    if not isinstance(labels, Iterable) or isinstance(labels, Mapping):
        raise _unusable(name, given, "a list of dataset labels")
    found = tuple(labels)
    if not all(isinstance(label, str) for label in found):
        raise _unusable(name, given, "a list of dataset labels")
    return tuple(label.lower() for label in found)


def _unusable(name: str, value: object, needed: str) -> DeclarationError:
    return DeclarationError(f"{SECTION}.{name} is {safe_text(value)}; it must be {needed}")
