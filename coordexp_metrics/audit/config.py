"""Settings of the audit, from a pyproject.toml that is read and never run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..contract.errors import MetricsError, safe_text

__all__ = ["ConfigError", "Settings", "settings_of"]

MAX_SIZE = 1 << 20
SECTION = "tool.coordexp_metrics"
GATES = ("error", "warning", "note", "never")


class ConfigError(MetricsError, ValueError):
    """The configuration cannot be right."""


@dataclass(frozen=True)
class Settings:
    """What ``[tool.coordexp_metrics]`` may say; the command line goes before it.

    Attributes:
        world_size: ranks of the run.
        grad_accum: micro-steps of one optimizer step.
        ranks_rollout: ranks that generate.
        select: rules to keep, by id or its beginning.
        ignore: rules to leave out.
        carry: patterns of keys that need no declaration.
        fail_on: the least severity that makes the exit code 1.
    """

    world_size: int | None = None
    grad_accum: int | None = None
    ranks_rollout: int | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    carry: tuple[str, ...] = ()
    fail_on: str = "error"


def settings_of(path: Path | None) -> Settings:
    """The settings in ``path``; those of the current folder's pyproject.toml where it is None.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or says what nobody understands.

    >>> from pathlib import Path
    >>> try:
    ...     settings_of(Path("/nowhere.toml"))
    ... except ConfigError as error:
    ...     print(error)
    /nowhere.toml cannot be read: No such file or directory
    """
    if path is None:
        path = Path("pyproject.toml")
        if not path.is_file():
            return Settings()
    section = _section(_document(path))
    return _settings(section, f"{safe_text(str(path), 400)[1:-1]}: [{SECTION}]")


def _document(path: Path) -> Mapping[str, Any]:
    shown = safe_text(str(path), 400)[1:-1]
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{shown} cannot be read: {error.strerror}") from error
    if len(data) > MAX_SIZE:
        raise ConfigError(f"{shown} is larger than 1 MiB")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{shown} is no TOML: {safe_text(str(error), 200)}") from error


def _section(document: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = document.get("tool")
    found = tool.get("coordexp_metrics") if isinstance(tool, dict) else None
    return found if isinstance(found, dict) else {}


def _settings(section: Mapping[str, Any], where: str) -> Settings:
    known = {field.name for field in fields(Settings)}
    given: dict[str, Any] = {key.replace("-", "_"): value for key, value in section.items()}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{where} has {safe_text(key)}; it knows {', '.join(sorted(known))}")
        _check(key, value, where)
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return replace(Settings(), **{**given, **lists})


def _check(key: str, value: object, where: str) -> None:
    if key == "fail_on":
        right, wanted = value in GATES, ", ".join(GATES)
    elif key in {"select", "ignore", "carry"}:
        right = isinstance(value, list) and all(type(item) is str for item in value)
        wanted = "a list of strings"
    else:
        right, wanted = type(value) is int and value > 0, "a whole number above 0"
    if not right:
        raise ConfigError(f"{where}: {key} must be {wanted}, not {safe_text(value)}")
