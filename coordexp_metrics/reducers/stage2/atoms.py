"""An atom is present where its effective weight is not zero; all atoms share the loss's weight.

The effective weight is the module's times the term's, and 0 where the module is off for the
channel. An active atom without tokens observes ``(0, weight)``, so the atoms of a step add up to
its loss.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from ...catalogue import CATALOGUE
from ...catalogue.objective import CoordLoss, Objective, SelfContextTextLoss, TextLoss
from ...contract.errors import DeclarationError, ObservationError
from ...contract.identity import PipelineIdentity
from ...contract.keys import near
from ...contract.metric import Metric
from ...contract.weights import effective_weights
from ...window import Window
from ..rollouts import VARIANTS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ATOMS", "Channel", "ObjectiveAtoms"]

log = logging.getLogger(__name__)

Channel: TypeAlias = Literal["A", "B"]
Number: TypeAlias = "float | Tensor"

ATOMS: dict[str, Metric] = {
    atom.key: atom
    for family in (TextLoss, SelfContextTextLoss, CoordLoss)
    for atom in family.metrics_and_laws()[0]
}
TERMS = tuple(dict.fromkeys(atom.name for atom in ATOMS.values()))
MODULES = ("token_ce", "bbox_geo", "coord_reg")
SELF_CONTEXT = "loss/A2_text/struct_ce"
PREFIX = "loss/"


class ObjectiveAtoms:
    """The 25 atoms of the Stage-2 objective, each present by its weight.

    Args:
        modules: the weight of ``token_ce``, ``bbox_geo`` and ``coord_reg``; 1 where not given.
        terms: the weight of each term: of one atom (``A2_coord/coord_soft_ce``), or of a term
            wherever it stands (``coord_soft_ce``). The atom's own comes first; a term that is not
            given has none. ``A2_text/struct_ce`` always needs its own
            (``self_context_struct_ce_weight``, metrics_and_losses.md:97).
        channels: for a module that runs in one channel alone, which one.
        n_softctx_iter: with 1, there is no self-context text, so ``A2_text`` is absent; the
            coordinate losses of the final iteration stay (metrics_and_losses.md:100-103).
        variant: ``stage2_rollout_aligned`` has the atoms of its one rollout pass alone.
        strict: whether an atom without weight raises; otherwise it is left out and counted.

    Attributes:
        weights: the effective weight of every atom, 0 where it is off.
        inactive: how often an atom without weight was handed over.

    Raises:
        DeclarationError: a name or a weight cannot be right; it says which and why.

    >>> atoms = ObjectiveAtoms({"coord_reg": 0.5}, {"bbox_ciou": 1.0, "B_coord/coord_w1": 0.2})
    >>> atoms.active("A")
    ('loss/A2_coord/bbox_ciou',)
    >>> atoms.weights["loss/B_coord/coord_w1"]
    0.1
    """

    def __init__(
        self,
        modules: Mapping[str, float] | None = None,
        terms: Mapping[str, float] | None = None,
        *,
        channels: Mapping[str, Channel] | None = None,
        n_softctx_iter: int = 2,
        variant: str = "stage2_two_channel",
        strict: bool = False,
    ) -> None:
        terms = {name.removeprefix(PREFIX): weight for name, weight in (terms or {}).items()}
        modules, channels = modules or {}, channels or {}
        _refuse_settings(modules, terms, channels)
        if isinstance(n_softctx_iter, bool) or n_softctx_iter < 1:
            raise DeclarationError(f"n_softctx_iter must be 1 or more; got {n_softctx_iter!r}")
        if variant not in VARIANTS:
            raise DeclarationError(f"variant must be one of {VARIANTS}; got {variant!r}")
        self.strict = strict
        self.inactive: Counter[str] = Counter()
        self.weights: dict[str, float] = {}
        for key, atom in ATOMS.items():
            module, channel = _module_of(atom), channel_of(atom)
            off = channels.get(module, channel) != channel
            off |= key == SELF_CONTEXT and n_softctx_iter == 1
            off |= variant == "stage2_rollout_aligned" and channel == "A"
            self.weights[key] = 0.0 if off else modules.get(module, 1.0) * _term(atom, terms)

    @classmethod
    def of(
        cls, identity: PipelineIdentity, n_softctx_iter: int = 2, *, strict: bool = False
    ) -> ObjectiveAtoms:
        """The atoms of a resolved pipeline.

        Raises:
            DeclarationError: the identity is of no Stage-2 variant.

        >>> from coordexp_metrics import resolve_pipeline
        >>> pipeline = resolve_pipeline({"custom.trainer_variant": "stage2_two_channel"})
        >>> ObjectiveAtoms.of(pipeline).active("A")[:2]
        ('loss/A1_text/struct_ce', 'loss/A1_text/desc_ce')
        """
        terms = effective_weights(identity, n_softctx_iter)
        variant = identity.extra["variant"]
        return cls(terms=terms, n_softctx_iter=n_softctx_iter, variant=variant, strict=strict)

    def active(self, channel: Channel) -> tuple[str, ...]:
        """The keys of the atoms that a step of ``channel`` has, in catalogue order."""
        return tuple(
            key
            for key, weight in self.weights.items()
            if weight and channel_of(ATOMS[key]) == channel
        )

    def observe(
        self,
        window: Window,
        channel: Channel,
        terms: Mapping[str, Number],
        *,
        weight: Number,
        loss: Number | None = None,
        as_means: bool = False,
    ) -> None:
        """Fold the objective of one micro-batch into a window.

        Args:
            window: where the sums go.
            channel: what the step runs.
            terms: by atom (``A1_text/struct_ce``, or the whole key), its contribution to the loss
                after all weights, summed over the micro-batch: a number or a 0-d tensor. Active
                atoms that are not given contribute 0.
            weight: the optimizer's normaliser for the micro-batch: what all sums are divided by.
            loss: the whole objective, summed likewise.
            as_means: whether ``terms`` and ``loss`` are divided by ``weight`` already.

        Raises:
            UnknownKeyError: no such atom, or (RemovedKeyError) one that was removed.
            ObservationError: with ``strict``, an atom without weight in this channel.

        >>> window = Window(CATALOGUE, group="local")
        >>> atoms = ObjectiveAtoms(terms={"bbox_ciou": 1.0, "struct_ce": 1.0})
        >>> atoms.observe(window, "B", {"B_coord/bbox_ciou": 3.0}, weight=4, loss=3.0)
        >>> window.close(mode="train", global_step=1).metrics
        {'loss': 0.75, 'loss/B_rollout_text/struct_ce': 0.0, 'loss/B_coord/bbox_ciou': 0.75}
        """
        if channel not in {"A", "B"}:
            raise ObservationError("loss", "channel", channel, "must be 'A' or 'B'")
        given = {_key_of(name): value for name, value in terms.items()}
        active = self.active(channel)
        self._leave_out(given.keys() - {*active}, channel)
        for key in active:
            window.observe(key, *_sums(given.get(key, 0.0), weight, as_means))
        if loss is not None:
            window.observe(Objective.loss, *_sums(loss, weight, as_means))

    def _leave_out(self, keys: Iterable[str], channel: Channel) -> None:
        for key in sorted(keys):
            if self.strict:
                why = f"has no weight in Channel-{channel}, so it takes no part in the loss"
                raise ObservationError(key, "atom", self.weights[key], why)
            if not self.inactive[key]:
                log.warning("%s has no weight in Channel-%s: it is left out", key, channel)
            self.inactive[key] += 1


def channel_of(atom: Metric) -> Channel:
    """The channel whose steps have the atom."""
    return "A" if (atom.provenance or "").startswith("A") else "B"


def _module_of(atom: Metric) -> str:
    if atom.name.startswith("bbox_"):
        return "bbox_geo"
    return "token_ce" if (atom.provenance or "").endswith("_text") else "coord_reg"


def _term(atom: Metric, terms: Mapping[str, float]) -> float:
    everywhere = 0.0 if atom.key == SELF_CONTEXT else terms.get(atom.name, 0.0)
    return terms.get(atom.key.removeprefix(PREFIX), everywhere)


def _refuse_settings(
    modules: Mapping[str, float], terms: Mapping[str, float], channels: Mapping[str, str]
) -> None:
    _refuse_names("modules", modules, MODULES)
    _refuse_names("channels", channels, MODULES)
    _refuse_names("terms", terms, (*TERMS, *(key.removeprefix(PREFIX) for key in ATOMS)))
    for name, weight in [*modules.items(), *terms.items()]:
        if not _is_number(weight):
            raise DeclarationError(f"the weight of {name} must be finite; got {weight!r}")
    for module, channel in channels.items():
        if channel not in {"A", "B"}:
            raise DeclarationError(f"the channel of {module} must be 'A' or 'B'; got {channel!r}")


def _key_of(name: str) -> str:
    """The key of an atom by its name or key, as the catalogue has it or says what became of it."""
    spelled = name if name.startswith((PREFIX, "obj/")) else PREFIX + name
    key = CATALOGUE[spelled].key
    if key not in ATOMS:
        raise ObservationError(key, "atom", name, "is no atom of the objective")
    return key


def _sums(value: Number, weight: Number, as_means: bool) -> tuple[Number, Number]:
    return (value * weight if as_means else value), weight


def _is_number(weight: object) -> bool:
    return isinstance(weight, (int, float)) and math.isfinite(weight)


def _refuse_names(argument: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            hint = near(name, known)
            meant = f"; did you mean {hint[0]!r}?" if hint else ""
            raise DeclarationError(f"{argument} has no {name!r}{meant}")
