"""Files of rollouts are evaluated as a training evaluates them: match, reduce, and COCO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..catalogue import CATALOGUE
from ..rollouts import DescriptionMonitor, ImageObjects, match_objects, rollout_facts
from ..rollouts.facts import RolloutFacts
from ..rollouts.files import RolloutRecord, Unusable, read_rollouts
from ..rollouts.objects import ObjectMatch
from ..window import Window
from .evaluation import RolloutEvaluation

if TYPE_CHECKING:
    from ..rollouts.coco import Backend, IouType

__all__ = ["Evaluated", "FilesReport", "Settings", "evaluate_files"]

Seen: TypeAlias = Callable[[RolloutRecord, ObjectMatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How objects are matched and detections evaluated; see ``match_objects``."""

    gate: float = 0.3
    top_k: int = 10
    resolution: int = 256
    iou_type: IouType = "bbox"
    backend: Backend = "auto"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The metrics of some images, by their names in evaluation (``eval_rollout/f1``)."""

    images: int
    metrics: Mapping[str, float]


@dataclass(slots=True)
class FilesReport:
    """What files of rollouts gave.

    Attributes:
        files: by path, those with at least one rollout.
        pooled: all of their images together; None without any.
        problems: what could not be used, and where.
    """

    files: dict[Path, Evaluated] = field(default_factory=dict)
    pooled: Evaluated | None = None
    problems: list[Unusable] = field(default_factory=list)


def evaluate_files(
    paths: Iterable[Path], settings: Settings | None = None, seen: Seen | None = None
) -> FilesReport:
    """Match and evaluate every rollout of every file; a directory stands for its ``*.jsonl``.

    Args:
        paths: files with a record a line (``read_rollouts``).
        settings: how; the defaults otherwise.
        seen: what is called with each record and its match.
    """
    chosen = settings or Settings()
    report, pool = FilesReport(), _Pool(chosen)
    for path in dict.fromkeys(paths):
        for file in _files(path, report):
            own = _Pool(chosen)
            for record in read_rollouts(file):
                if isinstance(record, Unusable):
                    report.problems.append(record)
                    continue
                match = _match(record, chosen)
                facts = _facts(record, match)
                own.add(record, facts)
                pool.add(record, facts)
                if seen is not None:
                    seen(record, match)
            _keep(report, file, own)
    report.pooled = pool.closed(report, Path("pooled")) if pool.images else None
    return report


def _files(path: Path, report: FilesReport) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(path.glob("*.jsonl"))
    yield from found
    if not found:
        report.problems.append(Unusable(path, 0, "a directory without *.jsonl"))


def _keep(report: FilesReport, file: Path, own: _Pool) -> None:
    if own.images:
        report.files[file] = own.closed(report, file)
    elif not any(problem.path == file for problem in report.problems):
        report.problems.append(Unusable(file, 0, "holds no rollout"))


def _match(record: RolloutRecord, settings: Settings) -> ObjectMatch:
    return match_objects(
        record.predictions,
        record.ground_truth,
        gate=settings.gate,
        top_k=settings.top_k,
        resolution=settings.resolution,
    )


def _facts(record: RolloutRecord, match: ObjectMatch) -> RolloutFacts:
    described = DescriptionMonitor().compare(record.predictions, record.ground_truth, match.pairs)
    return rollout_facts(None, match, described)


class _Pool:
    """An evaluation whose images are numbered as they come: no two of them are the same."""

    def __init__(self, settings: Settings) -> None:
        self.images = 0
        self._evaluation = RolloutEvaluation(
            Window(CATALOGUE, group="local"),
            detection=settings.iou_type,
            backend=settings.backend,
            resolution=settings.resolution,
        )

    def add(self, record: RolloutRecord, facts: RolloutFacts) -> None:
        objects = ImageObjects(self.images, record.predictions, record.ground_truth)
        self._evaluation.add([(objects, facts)])
        self.images += 1

    def closed(self, report: FilesReport, path: Path) -> Evaluated:
        payload = self._evaluation.close(global_step=0)
        if self._evaluation.failure is not None:
            why = f"mAP could not be computed: {self._evaluation.failure}"
            report.problems.append(Unusable(path, 0, why))
        names = {CATALOGUE[key].eval_key: value for key, value in payload.metrics.items()}
        return Evaluated(self.images, names)
