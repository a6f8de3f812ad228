"""A dashboard explains a curve in the words of its declaration, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from ..contract.catalogue import Resolution
from ..contract.header import Header

__all__ = ["curve_page", "header_page"]


def curve_page(tag: str, found: Resolution) -> str:
    """What the catalogue says of the metric that is drawn under ``tag``."""
    metric = found.metric
    facts = {
        "alias of": f"`{metric.key}`" if found.alias else None,
        "kind": metric.kind,
        "unit": metric.unit,
        "population": metric.population,
        "better": metric.better,
        "formula": f"`{metric.formula}`" if metric.formula is not None else None,
        "present": metric.when.text if metric.when is not None else None,
        "in the loss": metric.in_loss_when or "yes" if metric.in_loss else None,
        "in training": f"`{metric.key}`" if found.mode == "eval" and tag != metric.key else None,
    }
    return f"{metric.description}\n\n{_list(facts)}"


def header_page(header: Header) -> str:
    """Which definitions and which run the curves of a log come from."""
    data = header.to_data()
    pipeline = data["pipeline"] or {}
    facts = {
        "package": f"coordexp-metrics {data['package']}",
        "catalogue": f"`{data['catalogue']}`",
        "pipeline": f"`{pipeline['checksum']}`" if pipeline else None,
    }
    return _list(facts)


def _list(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- **{name}** {fact}" for name, fact in facts.items() if fact is not None)
