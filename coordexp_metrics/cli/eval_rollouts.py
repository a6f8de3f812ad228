"""``eval-rollouts FILES...``: precision, recall, F1, mask overlap and mAP of finished rollouts."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ..reducers.evaluated_files import Evaluated, FilesReport, Settings
    from ..rollouts.files import RolloutRecord
    from ..rollouts.objects import ObjectMatch

__all__ = ["eval_rollouts"]

VERSION = 1
COUNTS = {"true": "gt_objects", "predicted": "pred_objects", "matched": "matched"}
RATES = {
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "mask IoU": "matched_maskiou_mean",
    "mAP": "mAP",
}


def eval_rollouts(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="JSON records, or directories of them.")
    ],
    gate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Reject candidates below this mask IoU.")
    ] = 0.3,
    top_k: Annotated[int, typer.Option(min=1, help="Candidates of one prediction.")] = 10,
    resolution: Annotated[
        int, typer.Option(min=2, max=4096, help="Pixels of the canvas, each way.")
    ] = 256,
    iou_type: Annotated[
        Literal["bbox", "segm"], typer.Option(help="What overlaps in mAP: boxes or masks.")
    ] = "bbox",
    backend: Annotated[
        Literal["auto", "faster-coco-eval", "pycocotools"], typer.Option(help="Whose COCO.")
    ] = "auto",
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to say it.")] = (
        "text"
    ),
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a picture of each image there.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw over the images found there.")
    ] = None,
) -> None:
    """Evaluate rollouts: match predictions to ground truth, per file and pooled.

    Exit codes: 0 all evaluated; 1 something could not be used, and is named; 2 nothing was
    evaluated.
    """
    from ..reducers.evaluated_files import Settings, evaluate_files

    settings = Settings(
        gate=gate, top_k=top_k, resolution=resolution, iou_type=iou_type, backend=backend
    )
    album = None if plot is None else _Album(plot, images)
    report = evaluate_files(files, settings, None if album is None else album.add)
    if form == "json":
        typer.echo(json.dumps(_data(report, settings), indent=2, allow_nan=False))
    elif report.pooled is not None:
        _echo(_rendered(report), to=sys.stdout)
    for problem in report.problems:
        _echo(f"{problem}\n", to=sys.stderr)
    if album is not None and album.names:
        _echo(f"{len(album.names)} picture(s) in {album.place}\n", to=sys.stderr)
    if report.pooled is None:
        _echo("coordexp-metrics: nothing was evaluated\n", to=sys.stderr)
        raise typer.Exit(2)
    raise typer.Exit(int(bool(report.problems)))


class _Album:
    """Pictures, one a record, each under a name of its own."""

    def __init__(self, place: Path, photos: Path | None) -> None:
        self.place = place
        self.names: Counter[str] = Counter()
        self._photos = photos
        place.mkdir(parents=True, exist_ok=True)

    def add(self, record: RolloutRecord, match: ObjectMatch) -> None:
        from ..rollouts.pictures import picture

        name = f"{record.path.stem}-{record.line}"
        self.names[name] += 1
        again = f"-{self.names[name]}" if self.names[name] > 1 else ""
        text = picture(record, match, self._photo(record.image))
        (self.place / f"{name}{again}.svg").write_text(text, encoding="utf-8", errors="replace")

    def _photo(self, image: str) -> Path | None:
        """A file of the folder, by its path or its name; nothing outside of it."""
        if self._photos is None or not image:
            return None
        root = self._photos.resolve()
        for name in (image, Path(image).name):
            found = (root / name).resolve()
            if found.is_file() and found.is_relative_to(root):
                return found
        return None


def _data(report: FilesReport, settings: Settings) -> dict[str, Any]:
    pooled = report.pooled
    return {
        "schema_version": VERSION,
        "settings": asdict(settings),
        "files": [
            {"path": str(path), "images": one.images, "metrics": dict(one.metrics)}
            for path, one in report.files.items()
        ],
        "pooled": pooled and {"images": pooled.images, "metrics": dict(pooled.metrics)},
        "problems": [
            {"path": str(problem.path), "line": problem.line, "message": problem.message}
            for problem in report.problems
        ],
    }


def _rendered(report: FilesReport) -> str:
    from rich.console import Console

    text = io.StringIO()
    console = Console(
        file=text,
        force_terminal=sys.stdout.isatty(),
        width=None if sys.stdout.isatty() else 200,
        markup=False,
    )
    console.print(_table(report))
    return text.getvalue()


def _table(report: FilesReport) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    for heading in ("images", *COUNTS, *RATES):
        table.add_column(heading, justify="right", no_wrap=True)
    names = _names(report.files)
    for place, (path, one) in enumerate(report.files.items(), 1):
        last = place == len(report.files)
        table.add_row(Text(names[path]), *_cells(one), end_section=last)
    if report.pooled is not None:
        table.add_row(Text("pooled", "bold"), *_cells(report.pooled))
    return table


def _cells(one: Evaluated) -> list[str]:
    whole = [f"{_value(one.metrics, name):.0f}" for name in COUNTS.values()]
    rates = [f"{_value(one.metrics, name):.3f}" for name in RATES.values()]
    return [str(one.images), *("-" if cell == "nan" else cell for cell in (*whole, *rates))]


def _value(metrics: Mapping[str, float], name: str) -> float:
    return metrics.get(f"eval_rollout/{name}", float("nan"))


def _names(paths: Iterable[Path]) -> dict[Path, str]:
    """File names where they tell the files apart, paths elsewhere."""
    found = list(paths)
    told_apart = len({path.name for path in found}) == len(found)
    shown = {path: path.name if told_apart else str(path) for path in found}
    return {path: name if name.isprintable() else ascii(name) for path, name in shown.items()}


def _echo(text: str, to: Any) -> None:
    encoding = to.encoding or "ascii"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), file=to, nl=False)
