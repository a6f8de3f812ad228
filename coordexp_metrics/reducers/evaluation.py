"""An evaluation is of the whole set: each image once, whichever rank had it, in one order.

Samplers pad: the same image may come twice, on one rank or on two. The lowest rank that has it
counts it, with what it added first. Before anything is folded, the ranks tell one another which
images they have, and with detection also the objects, in two collectives on the window's own group;
then the window closes with its one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..catalogue.desc_monitor import DescMonitor
from ..catalogue.rollout_eval import EvalRollout
from ..contract.errors import safe_text
from ..contract.payload import Payload
from ..rollouts.facts import RolloutFacts
from ..rollouts.objects import ImageObjects
from ..rollouts.wire import pack_images, unpack_images
from ..window import Window
from .rollouts import RolloutReducer

if TYPE_CHECKING:
    from ..rollouts.coco import Backend, IouType

__all__ = ["RolloutEvaluation"]

SEMANTIC = (
    DescMonitor.desc_sem_acc_on_matched.key,
    DescMonitor.desc_sem_sim_mean.key,
    DescMonitor.desc_sem_sim_count.key,
)
LOCAL = "local/"

log = logging.getLogger("coordexp_metrics")


class RolloutEvaluation:
    """Rollouts of an evaluation set to one payload (``metrics_and_losses.md:293-318``).

    Args:
        window: one that closes at once (``lag=0``) and that training does not observe into; its
            ranks are those of the evaluation.
        detection: by what overlap ``eval_rollout/mAP`` is computed, ``bbox`` or ``segm``; None
            leaves it out (``rollout_matching.eval_detection.enabled``).
        backend: which COCO computes it; see ``mean_average_precision``.
        resolution: the canvas of ``segm``.
        map_on_failure: where COCO fails, mAP is ``absent``, or 0.0 with ``zero``.
        reducer: how facts become statistics; one with default settings otherwise.

    Attributes:
        duplicates: how many samples of this rank the last close left out, because this or a lower
            rank had the image already.
        failure: why COCO failed in the last close on this rank, or None.

    Raises:
        ValueError: an argument is none of these.

    >>> from coordexp_metrics import CATALOGUE
    >>> from coordexp_metrics.rollouts import DetectedObject, match_objects, rollout_facts
    >>> truth = [DetectedObject("bbox_2d", [100, 100, 500, 500], "cat")]
    >>> found = [DetectedObject("bbox_2d", [110, 100, 500, 500], "cat")]
    >>> evaluation = RolloutEvaluation(Window(CATALOGUE, group="local"), detection="bbox")
    >>> facts = rollout_facts(None, match_objects(found, truth))
    >>> evaluation.add([(ImageObjects(7, found, truth), facts)])
    >>> metrics = evaluation.close(global_step=100).metrics
    >>> metrics["rollout/f1"], round(metrics["eval_rollout/mAP"], 2)
    (1.0, 1.0)
    """

    def __init__(
        self,
        window: Window,
        *,
        detection: IouType | None = None,
        backend: Backend = "auto",
        resolution: int = 256,
        map_on_failure: Literal["absent", "zero"] = "absent",
        reducer: RolloutReducer | None = None,
    ) -> None:
        if window.lag:
            raise ValueError("an evaluation is read at its end: its window has lag=0")
        if detection not in {None, "bbox", "segm"}:
            raise ValueError(f"detection is 'bbox', 'segm' or None, not {detection!r}")
        if map_on_failure not in {"absent", "zero"}:
            raise ValueError(f"map_on_failure is 'absent' or 'zero', not {map_on_failure!r}")
        self.window = window
        self.detection = detection
        self.map_on_failure = map_on_failure
        self.duplicates = 0
        self.failure: str | None = None
        self.backend: Backend = backend
        self.resolution = resolution
        self._reducer = RolloutReducer(mode="eval") if reducer is None else reducer
        self._samples: list[tuple[ImageObjects, RolloutFacts]] = []

    def add(self, samples: Iterable[tuple[ImageObjects, RolloutFacts]]) -> None:
        """Take what a batch gave: the objects of each image, and the facts of its rollout.

        An image is known by its key, a number or a text, which stands for it on every rank.
        """
        self._samples += samples

    def close(self, global_step: int) -> Payload:
        """The payload of the whole set, the same on every rank; the evaluation is empty again.

        Every rank calls it, images or none: three collectives, whatever was added. COCO takes as
        long as it takes, on every rank alike; set the window's ``timeout`` above it.
        """
        samples, self._samples = self._samples, []
        told = [one if self.detection else ImageObjects(one.image, (), ()) for one, _ in samples]
        messages, own = self.window.gather(pack_images(told))
        firsts = _first_of_each(list(map(unpack_images, messages)))
        mine = [samples[place][1] for rank, place in firsts if rank == own]
        self.duplicates = len(samples) - len(mine)
        self._reducer.observe(self.window, mine)
        if self.detection is not None:
            self._detect(self.detection, list(firsts.values()), speaks=own == 0)
        return self._settled(self.window.close(mode="eval", global_step=global_step))

    def _detect(self, iou_type: IouType, images: list[ImageObjects], *, speaks: bool) -> None:
        """Every rank computes the same mAP, so that none waits for another; the first observes it.

        This is the documented best effort: whatever goes wrong in COCO ends here, and is told.
        """
        self.failure = None
        try:
            from ..rollouts import mean_average_precision

            value = mean_average_precision(
                images, iou_type, backend=self.backend, resolution=self.resolution
            )
        except Exception as error:  # noqa: BLE001 - a failed evaluation must not end a training
            self.failure = f"{type(error).__name__}: {safe_text(str(error), 200)}"
            log.warning("COCO failed, mAP is %s: %s", self.map_on_failure, self.failure)
            value = None
        self.window.observe(EvalRollout.coco_eval_ok, int(self.failure is None))
        if speaks and value is not None:
            self.window.observe(EvalRollout.mAP, value, 1)

    def _settled(self, payload: Payload) -> Payload:
        """Without what only some of the ranks could measure."""
        metrics = dict(payload.metrics)
        for prefix in ("", LOCAL):
            if metrics.get(prefix + EvalRollout.coco_eval_ok.key) == 0:
                metrics.pop(prefix + EvalRollout.mAP.key, None)
                if self.map_on_failure == "zero":
                    metrics[prefix + EvalRollout.mAP.key] = 0.0
            if metrics.get(prefix + EvalRollout.desc_sem_enabled.key) == 0:
                for key in SEMANTIC:
                    metrics.pop(prefix + key, None)
        return replace(payload, metrics=metrics)


def _first_of_each(ranks: Sequence[Sequence[ImageObjects]]) -> dict[tuple[int, int], ImageObjects]:
    """Each image once, by the rank and the place where it came first."""
    found: dict[int | str, tuple[int, int]] = {}
    for rank, images in enumerate(ranks):
        for place, one in enumerate(images):
            found.setdefault(one.image, (rank, place))
    return {(rank, place): ranks[rank][place] for rank, place in found.values()}
