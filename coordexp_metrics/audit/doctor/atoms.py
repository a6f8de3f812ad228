"""The terms of the objective add up to the loss: they share one population."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .factors import explained, nearly
from .laws import ratio_of
from .log import Case, Log, Offender, said

__all__ = ["atoms_and_loss"]

LOSS = ("loss", "train/loss", "eval_loss", "eval/loss")


def atoms_and_loss(log: Log) -> Iterator[Case]:
    """The terms under ``loss/`` add up to ``loss`` (CXM521)."""
    key = next((name for name in LOSS if name in log.columns), None)
    prefix = f"{key}/"
    atoms = [k for k in log.columns if k.startswith(prefix) and not _whole_sum(log, k)]
    if key is None or len(atoms) < 2:
        return
    rows, offenders, ratios = 0, [], []
    loss = log.columns[key]
    slack_of = {atom: log.columns[atom] for atom in atoms}
    for row, value in zip(loss.rows, loss.values, strict=True):
        there = [(c, v) for c in slack_of.values() if (v := c.at(row)) is not None]
        if len(there) < 2:
            continue
        rows += 1
        total = sum(v for _, v in there)
        slack = loss.slack(value) + sum(column.slack(v) for column, v in there)
        if not nearly(total, value, slack + 1e-5 * abs(value)):
            offenders.append(Offender(row, value, total))
            ratios.append(ratio_of(total, value))
    if not offenders or not _promised(log, atoms, len(offenders), rows):
        return
    factor = explained(log, [offender.row for offender in offenders], ratios)
    first = offenders[0]
    because = f"; the factor is {factor}" if factor else ""
    yield Case(
        "CXM521",
        key,
        f"{said(key)} is {first.value:.9g} but its {len(atoms)} terms add up to "
        f"{first.expected:.9g}{because}: so in {len(offenders)} of {rows} records",
        offenders,
        rows,
        0.9 if len(offenders) < rows else 0.8,
        {"atoms": sorted(atoms)[:40], "factor": factor.values[0] if factor else None},
        tuple(sorted(atoms)[:4]),
    )


def _whole_sum(log: Log, key: str) -> bool:
    return log.names[key].last in {"total", "all", "sum", "mean"}


def _promised(log: Log, atoms: Sequence[str], broken: int, rows: int) -> bool:
    """The contract promises it for its own atoms; elsewhere the other records must."""
    ours = any((metric := log.metric(key)) and metric.in_loss for key in atoms)
    return ours or 2 * broken < rows
