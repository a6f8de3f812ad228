"""An atom is there exactly when its effective weight is not zero.

The effective weight is module weight x term weight, and zero where the module is off for the
channel (``metrics_and_losses.md:63``).
"""

from __future__ import annotations

from typing import Any

from .errors import DeclarationError
from .identity import PipelineIdentity
from .modules import CHANNELS, DIAGNOSTICS, OBJECTIVE, TWO_CHANNEL, resolve_modules

__all__ = ["active_atoms", "active_coord_diag", "effective_weights"]

# For each atom its module, channel, and the settings that may hold its term weight: the first that
# is set counts; an atom without any has weight 1.
_ATOMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "loss/A1_text/struct_ce": ("token_ce", "A", ()),
    "loss/A1_text/desc_ce": ("token_ce", "A", ("desc_ce_weight",)),
    "loss/A2_text/struct_ce": ("token_ce", "A", ("self_context_struct_ce_weight",)),
    "loss/B_rollout_text/struct_ce": ("token_ce", "B", ()),
    "loss/B_rollout_text/desc_ce": (
        "token_ce", "B", ("rollout_fn_desc_weight", "desc_ce_weight"),
    ),
    **{
        f"loss/{forward}/{atom}": (module, channel, (term,))
        for forward, channel in (("A2_coord", "A"), ("B_coord", "B"))
        for atom, module, term in (
            ("bbox_smoothl1", "bbox_geo", "smoothl1_weight"),
            ("bbox_ciou", "bbox_geo", "ciou_weight"),
            ("coord_token_ce", "coord_reg", "coord_ce_weight"),
            ("coord_soft_ce", "coord_reg", "soft_ce_weight"),
            ("coord_w1", "coord_reg", "w1_weight"),
            ("coord_el1", "coord_reg", "el1_weight"),
            ("coord_ehuber", "coord_reg", "ehuber_weight"),
            ("coord_entropy", "coord_reg", "entropy_weight"),
            ("coord_gate", "coord_reg", "coord_gate_weight"),
            ("text_gate", "coord_reg", "text_gate_weight"),
        )
    },
    "loss/A2_coord/coord_soft_ce": (
        "coord_reg", "A", ("self_context_soft_ce_weight", "soft_ce_weight"),
    ),
}  # fmt: skip


def effective_weights(
    identity: PipelineIdentity, n_softctx_iter: int | None = None
) -> dict[str, float]:
    """The effective weight of every atom that the variant has: 25, or the 12 of Channel-B.

    Args:
        identity: a resolved pipeline, of `resolve_pipeline`.
        n_softctx_iter: how often Channel-A runs its forward. With 1 there is no self-context text,
            so ``loss/A2_text/struct_ce`` has none. The two-channel variant must say it.

    Raises:
        DeclarationError: there is no such variant or module, or ``n_softctx_iter`` is missing.

    >>> from .pipeline import resolve_pipeline
    >>> identity = resolve_pipeline({}, "stage2_rollout_aligned")
    >>> [key for key, weight in effective_weights(identity).items() if weight]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['loss/B_rollout_text/struct_ce', 'loss/B_rollout_text/desc_ce',
     'loss/B_coord/bbox_smoothl1', 'loss/B_coord/bbox_ciou']
    """
    variant = _variant(identity)
    several = _self_context(variant, n_softctx_iter)
    modules = {
        module["name"]: module
        for module in resolve_modules(identity.objective, "objective", variant, OBJECTIVE)
    }
    return {
        key: 0.0
        if key.startswith("loss/A2_text/") and not several
        else _weight(modules.get(name), channel, terms)
        for key, (name, channel, terms) in _ATOMS.items()
        if channel in CHANNELS[variant]
    }


def active_atoms(identity: PipelineIdentity, n_softctx_iter: int | None = None) -> frozenset[str]:
    """The keys of the atoms that a run of this identity logs.

    Raises:
        DeclarationError: as `effective_weights` does.
    """
    weights = effective_weights(identity, n_softctx_iter)
    return frozenset(key for key, weight in weights.items() if weight)


def active_coord_diag(
    identity: PipelineIdentity, n_softctx_iter: int | None = None
) -> frozenset[str]:
    """The forwards with ``coord_diag/<forward>/*`` keys: of A1, A2 and B (``:109``).

    A2 only where the self-context forward is another one than the anchor: ``n_softctx_iter > 1``.

    Raises:
        DeclarationError: as `effective_weights` does.
    """
    variant = _variant(identity)
    several = _self_context(variant, n_softctx_iter)
    found = resolve_modules(identity.diagnostics, "diagnostics", variant, DIAGNOSTICS)
    channels = {c for module in found if module["weight"] for c in module["channels"]}
    passes = {"A1": "A" in channels, "A2": "A" in channels and several, "B": "B" in channels}
    return frozenset(forward for forward, active in passes.items() if active)


def _weight(module: dict[str, Any] | None, channel: str, terms: tuple[str, ...]) -> float:
    if module is None or channel not in module["channels"]:
        return 0.0
    chosen = [module["config"][term] for term in terms if module["config"][term] is not None]
    return float(module["weight"] * (chosen[0] if chosen else 0.0 if terms else 1.0))


def _variant(identity: PipelineIdentity) -> str:
    variant = identity.extra.get("variant")
    if variant not in CHANNELS:
        raise DeclarationError(
            f"the identity is of variant {variant!r}; it must be {' or '.join(CHANNELS)}"
        )
    return str(variant)


def _self_context(variant: str, n_softctx_iter: int | None) -> bool:
    if variant != TWO_CHANNEL:
        return False
    if type(n_softctx_iter) is not int or n_softctx_iter < 1:
        raise DeclarationError(
            f"n_softctx_iter is {n_softctx_iter!r}; {TWO_CHANNEL} needs a number of 1 or more"
        )
    return n_softctx_iter > 1
