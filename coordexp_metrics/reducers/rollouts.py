"""Facts of rollouts become every ``rollout/*`` statistic: totals travel, rates are born last.

A sample is in a rate's numerator and denominator, or in neither; what was not measured is absent,
and a step without rollouts observes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

from ..catalogue import CATALOGUE
from ..catalogue.generation import Decoding
from ..contract.errors import DeclarationError
from ..contract.metric import Mode
from ..window import Window
from .fact_groups import OBJECTS, Groups
from .fact_ledger import Ledger, RolloutReport
from .fact_reading import NAMES, Samples, read_facts
from .fact_sums import Sums, observe_channel_b, observe_desc, observe_rollouts

__all__ = ["RolloutReducer", "Variant"]

Variant: TypeAlias = Literal["stage2_two_channel", "stage2_rollout_aligned"]
VARIANTS = ("stage2_two_channel", "stage2_rollout_aligned")


class RolloutReducer:
    """Per-sample facts to metrics, as objects or as columns on any device, without a host sync.

    Args:
        do_sample, temperature, top_p, top_k: the sampling in effect (metrics_and_losses.md:168);
            None leaves the key out.
        desc_monitor: whether descriptions are monitored; False drops ``rollout/desc_*``.
        variant: the trainer; ``stage2_two_channel`` adds ``stage2/raw_rollouts`` and
            ``stage2_ab/channel_b/*``.
        mode: what ``compute`` closes its window for: ``train`` or ``eval``.
        required: the facts that a sample must know to be counted among objects. Add those that
            your trainer always measures; ``("pred_objects",)`` where nothing is matched.
        strict: whether facts that cannot be right raise. Otherwise the sample is left out of the
            facts' group, counted and named in ``report()``.

    Raises:
        DeclarationError: an argument cannot be right; it says which and why.

    >>> from coordexp_metrics.rollouts import RolloutFacts
    >>> sample = RolloutFacts(gt_objects=4, pred_objects=4, matched=3)
    >>> metrics = RolloutReducer(do_sample=False).compute([sample])
    >>> metrics["rollout/f1"], metrics["rollout/fn_total"], metrics["rollout/do_sample"]
    (0.75, 1, 0)
    """

    def __init__(
        self,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        *,
        desc_monitor: bool = True,
        variant: Variant = "stage2_rollout_aligned",
        mode: Mode = "train",
        required: Iterable[str] = OBJECTS,
        strict: bool = False,
    ) -> None:
        _refuse("variant", variant, variant in VARIANTS, f"one of {VARIANTS}")
        _refuse("mode", mode, mode in {"train", "eval"}, "'train' or 'eval'")
        needed = tuple(required)
        for name in needed:
            _refuse("required", name, name in NAMES, "names of RolloutFacts")
        knobs = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        for name, value in knobs.items():
            finite = value is None or (isinstance(value, (int, float)) and math.isfinite(value))
            _refuse(name, value, finite, "a finite number, or None")
        self.knobs = {name: value for name, value in knobs.items() if value is not None}
        self.do_sample = do_sample
        self.desc_monitor = desc_monitor
        self.variant = variant
        self.mode: Mode = mode
        self._groups = Groups(needed)
        self._ledger = Ledger(self._groups, strict=strict)

    def observe(self, window: Window, samples: Samples) -> None:
        """Fold the rollouts of one micro-batch into a window; none of them observes nothing.

        Args:
            window: where the sums go: numbers, or 0-d tensors on the device of the columns.
            samples: a sequence of ``RolloutFacts`` or of mappings with the same names; or one
                mapping of columns ``[N]``: lists, numpy arrays, or tensors (``RolloutColumns``).

        Raises:
            ObservationError: a name that is no fact, columns of unequal length, or something that
                is neither; with ``strict``, also a fact that cannot be right.

        >>> window = Window(CATALOGUE, group="local")
        >>> RolloutReducer().observe(window, {"truncated": [True, False], "pred_objects": [2, 0]})
        >>> window.close(mode="train", global_step=1).metrics["rollout/parse_truncated_rate"]
        0.5
        """
        facts = read_facts(samples)
        if not facts.size:
            return
        judged = self._groups.judge(facts)
        self._ledger.enter(window, facts, judged)
        self._observe_knobs(window)
        sums = Sums(facts, judged)
        observe_rollouts(window, sums)
        if self.desc_monitor:
            observe_desc(window, sums)
        if self.variant == "stage2_two_channel":
            observe_channel_b(window, sums)
        sums.flush()

    def _observe_knobs(self, window: Window) -> None:
        if self.do_sample is not None:
            window.observe(Decoding.do_sample, int(self.do_sample))
        for name, value in self.knobs.items():
            window.observe(f"rollout/{name}", value)

    def compute(self, samples: Samples) -> dict[str, float]:
        """The metrics of one batch of rollouts, by their names in a payload.

        Args and errors are those of ``observe``.

        >>> RolloutReducer().compute([{"gen_new_tokens": 3}, {"gen_new_tokens": 5}])
        {'rollout/gen_new_tokens_total': 8, 'rollout/gen_new_tokens_mean': 4.0, \
'rollout/gen_new_tokens_p90': 4.8, 'rollout/gen_new_tokens_p99': 4.98}
        """
        window = Window(CATALOGUE, group="local")
        self.observe(window, samples)
        payload = window.close(mode=self.mode, global_step=0)
        # Among several ranks the window spells what is this rank's own local/<key>.
        return {key.removeprefix("local/"): value for key, value in payload.metrics.items()}

    def report(self) -> RolloutReport:
        """What this reducer left out since it was made, with the first samples by name.

        This waits for a device; ``observe`` does not.

        >>> reducer = RolloutReducer()
        >>> _ = reducer.compute([{"gt_objects": 1, "pred_objects": 2, "matched": 3}])
        >>> reducer.report().wrong
        {'objects': 1}
        """
        return self._ledger.report()


def _refuse(name: str, value: object, holds: bool, must_be: str) -> None:
    if not holds:
        raise DeclarationError(f"{name} must be {must_be}; got {value!r}")
