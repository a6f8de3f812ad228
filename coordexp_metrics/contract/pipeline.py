"""A Stage-2 run is what its settings resolve to: the same meaning has the same checksum.

Only what changes the objective, the diagnostics or the meaning of either is hashed. Settings that
were removed are refused with what stands in their place (``metrics_and_losses.md:44``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import DeclarationError, safe_text
from .identity import RUN_CONTEXT, PipelineIdentity
from .modules import (
    CHANNELS,
    DIAGNOSTICS,
    OBJECTIVE,
    ROLLOUT_ALIGNED,
    TWO_CHANNEL,
    resolve_modules,
)

__all__ = ["pipeline_advice", "resolve_pipeline"]

# For each setting that changes what a run means: its values, the default first; its variant.
_MODES: dict[str, tuple[tuple[str, ...], str]] = {
    "stage2_ab.coord_ctx_embed_mode": (("soft", "st", "hard"), TWO_CHANNEL),
    "stage2_ab.coord_decode_mode": (("exp", "st"), TWO_CHANNEL),
    "rollout_matching.coord_decode_mode": (("exp", "st"), ROLLOUT_ALIGNED),
}
_SECTION = {TWO_CHANNEL: "stage2_ab", ROLLOUT_ALIGNED: "rollout_matching"}
_REMOVED = {
    "stage2_ab.fmt_struct_ce_weight": "use token_ce.config.self_context_struct_ce_weight",
    "reordered_gt_sft": "Channel-B is unified: delete it",
}


def resolve_pipeline(settings: Mapping[str, Any], variant: str | None = None) -> PipelineIdentity:
    """What a Stage-2 run optimises and diagnoses, with every default in place.

    Args:
        settings: the configuration, nested or with dotted keys. Read are
            ``custom.trainer_variant``, the modes named in ``metrics_and_losses.md:49``, the lists
            ``objective`` and ``diagnostics`` (at the top, or in ``stage2_ab.pipeline`` and
            ``rollout_matching.pipeline`` of the variant), and the run context. All else is not part
            of the identity.
        variant: the trainer variant, if the settings do not name it.

    Returns:
        The identity: ``.objective``, ``.diagnostics``, ``.extra``, ``.checksum``; its ``.context``
        holds config, run name and seed, which are not hashed.

    Raises:
        DeclarationError: a setting is unknown where the vocabulary is closed, was removed, or has
            a value that is not documented.

    >>> settings = {"custom": {"trainer_variant": "stage2_rollout_aligned"}, "seed": 7}
    >>> [module["name"] for module in resolve_pipeline(settings).objective]
    ['token_ce', 'bbox_geo', 'coord_reg']
    """
    flat = dict(_flat(settings, ""))
    _refuse_removed(flat)
    named = _variant(flat.get("custom.trainer_variant"), variant)
    return PipelineIdentity(
        _modules(flat, "objective", named, OBJECTIVE),
        _modules(flat, "diagnostics", named, DIAGNOSTICS),
        {"variant": named, **_modes(flat, named)},
        {key: flat[key] for key in sorted(RUN_CONTEXT) if key in flat},
    )


def pipeline_advice(identity: PipelineIdentity) -> tuple[str, ...]:
    """What is allowed and still worth a second look (``metrics_and_losses.md:61``).

    >>> pipeline_advice(resolve_pipeline({}, TWO_CHANNEL))[0][:49]
    'box losses (L_geo) want stage2_ab.coord_ctx_embed'
    """
    geometry = any(
        module["name"] == "bbox_geo" and module["weight"] and any(module["config"].values())
        for module in identity.objective
    )
    wanted = {"stage2_ab.coord_ctx_embed_mode": "st", "stage2_ab.coord_decode_mode": "exp"}
    return tuple(
        f"box losses (L_geo) want {setting}: {mode}; it is {identity.extra[setting]}"
        for setting, mode in wanted.items()
        if geometry and identity.extra.get(setting, mode) != mode
    )


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for key, value in settings.items():
        name = f"{prefix}{key}"
        inner = _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
        for path, leaf in inner:
            if path in seen:
                raise DeclarationError(f"{path} is set twice, nested and with dots; set it once")
            seen.add(path)
            yield path, leaf


def _refuse_removed(flat: Mapping[str, Any]) -> None:
    for path, value in flat.items():
        for name, instead in _REMOVED.items():
            chosen = isinstance(value, str) and value == name
            if chosen or path == name or name in path.split("."):
                raise DeclarationError(f"{path}: {name} was removed; {instead}")


def _variant(setting: object, argument: str | None) -> str:
    if setting is not None and argument is not None and setting != argument:
        raise DeclarationError(
            f"custom.trainer_variant is {safe_text(setting)}, the variant asked for {argument!r}"
        )
    variant = argument if setting is None else setting
    if not isinstance(variant, str) or variant not in CHANNELS:
        raise DeclarationError(
            f"custom.trainer_variant is {safe_text(variant)}; it must be {' or '.join(CHANNELS)}"
        )
    return variant


def _modes(flat: Mapping[str, Any], variant: str) -> dict[str, str]:
    found = {}
    for setting, (values, applies) in _MODES.items():
        mode = flat.get(setting, values[0])
        if mode not in values:
            raise DeclarationError(f"{setting} is {safe_text(mode)}; it must be {'|'.join(values)}")
        if applies == variant:
            found[setting] = mode
    return found


def _modules(
    flat: Mapping[str, Any], name: str, variant: str, known: dict[str, dict[str, float | None]]
) -> tuple[Any, ...]:
    places = [place for place in (name, f"{_SECTION[variant]}.pipeline.{name}") if place in flat]
    if len(places) > 1:
        raise DeclarationError(f"{' and '.join(places)} are both set; set one of them")
    given: Sequence[Any] = flat[places[0]] if places else list(known)
    return resolve_modules(given, places[0] if places else name, variant, known)
