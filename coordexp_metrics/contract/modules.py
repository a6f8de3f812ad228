"""A module of a Stage-2 pipeline, with every default spelled out: equal meaning, equal data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from .errors import DeclarationError, safe_text

__all__ = [
    "CHANNELS",
    "DIAGNOSTICS",
    "OBJECTIVE",
    "ROLLOUT_ALIGNED",
    "TWO_CHANNEL",
    "resolve_modules",
]

TWO_CHANNEL, ROLLOUT_ALIGNED = "stage2_two_channel", "stage2_rollout_aligned"
# The one forward of the rollout-aligned variant reads a rollout, as Channel-B does.
CHANNELS = {TWO_CHANNEL: ("A", "B"), ROLLOUT_ALIGNED: ("B",)}

_TERMS: dict[str, float | None] = dict.fromkeys(
    (
        "coord_ce_weight",
        "soft_ce_weight",
        "w1_weight",
        "el1_weight",
        "ehuber_weight",
        "entropy_weight",
        "coord_gate_weight",
        "text_gate_weight",
    ),
    0.0,
)
OBJECTIVE: dict[str, dict[str, float | None]] = {
    "token_ce": {
        "desc_ce_weight": 1.0,
        "rollout_fn_desc_weight": None,
        "self_context_struct_ce_weight": 0.0,
    },
    "bbox_geo": {"smoothl1_weight": 1.0, "ciou_weight": 1.0},
    "coord_reg": {**_TERMS, "self_context_soft_ce_weight": None},
}
DIAGNOSTICS: dict[str, dict[str, float | None]] = {"coord_diag": {}}

_FIELDS = ("name", "weight", "enabled", "channels", "config")
_REMOVED = {
    "fmt_struct_ce_weight": "token_ce.config.self_context_struct_ce_weight",
    "token_ce_obj": "token_ce",
    "bbox_geo_obj": "bbox_geo",
    "coord_reg_obj": "coord_reg",
}


def resolve_modules(
    given: object, where: str, variant: str, known: Mapping[str, Mapping[str, float | None]]
) -> tuple[dict[str, Any], ...]:
    """Modules in their order, each with weight, channels and config; disabled ones are left out.

    Args:
        given: names, or mappings with ``name`` and any of ``weight`` (1), ``enabled`` (true),
            ``channels`` (all of the variant) and ``config``.
        where: the setting that they come from, for errors.
        variant: the trainer variant, which says what channels there are.
        known: the modules there are, with the weights that each has and their defaults.

    Raises:
        DeclarationError: a module, a field or a weight is unknown, was removed, or cannot be right.

    >>> resolve_modules(["bbox_geo"], "objective", ROLLOUT_ALIGNED, OBJECTIVE)[0]["config"]
    {'smoothl1_weight': 1.0, 'ciou_weight': 1.0}
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
        raise _unusable(where, given, "a list of modules")
    modules = [_module(item, f"{where}[{at}]", variant, known) for at, item in enumerate(given)]
    names = [module["name"] for module in modules]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where} names {safe_text(name)} twice; one entry a module")
    return tuple(_without(module, "enabled") for module in modules if module["enabled"])


def _without(module: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in module.items() if key != field}


def _module(
    given: object, where: str, variant: str, known: Mapping[str, Mapping[str, float | None]]
) -> dict[str, Any]:
    fields = {"name": given} if isinstance(given, str) else given
    if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
        raise _unusable(where, given, "a name, or a mapping with a name")
    name = fields["name"]
    if name not in known:
        raise _unknown(where, "module", name, known)
    for key in fields:
        if key not in _FIELDS:
            raise _unknown(f"{where} ({name})", "field", key, _FIELDS)
    enabled = fields.get("enabled", True)
    if not isinstance(enabled, bool):
        raise _unusable(f"{where}.enabled", enabled, "true or false")
    return {
        "name": name,
        "weight": _weight(f"{where}.weight", fields.get("weight", 1.0)),
        "enabled": enabled,
        "channels": _channels(f"{where}.channels", fields.get("channels"), variant),
        "config": _config(f"{where}.config", fields.get("config"), known[name]),
    }


def _channels(where: str, given: object, variant: str) -> list[str]:
    if given is None:
        return list(CHANNELS[variant])
    if isinstance(given, str) or not isinstance(given, Sequence) or set(given) - {"A", "B"}:
        raise _unusable(where, given, "a list of A and B")
    return [channel for channel in CHANNELS[variant] if channel in given]


def _config(where: str, given: object, weights: Mapping[str, float | None]) -> dict[str, Any]:
    config = {} if given is None else given
    if not isinstance(config, Mapping):
        raise _unusable(where, given, "a mapping")
    for key in config:
        # Other settings, such as a temperature, are part of the identity as they stand.
        if not isinstance(key, str) or (key.endswith("_weight") and key not in weights):
            raise _unknown(where, "weight", key, weights)
    resolved = {**weights, **config}
    return {
        key: _weight(f"{where}.{key}", value) if key in weights and value is not None else value
        for key, value in resolved.items()
    }


def _weight(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _unusable(where, value, "a finite number")
    return float(value)


def _unknown(where: str, what: str, name: object, known: Any) -> DeclarationError:
    plain = str(name).removeprefix("obj/").removeprefix("loss/")
    if str(name) in _REMOVED or plain != str(name):
        instead = _REMOVED.get(plain, plain)
        return DeclarationError(f"{where}: {safe_text(name)} was removed; use {safe_text(instead)}")
    near = get_close_matches(plain, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known) or 'none'}"
    return DeclarationError(f"{where} has no {what} {safe_text(name)}; {hint}")


def _unusable(where: str, value: object, needed: str) -> DeclarationError:
    return DeclarationError(f"{where} is {safe_text(value)}; it must be {needed}")
