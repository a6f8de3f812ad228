"""The key reference: a page a family, each key an anchor, each formula a row of links.

What all keys of a page or section share is said once above the table; a row says what differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from ..contract.catalogue import Catalogue
from ..contract.deprecation import Deprecated
from ..contract.formula import Binary, Expression
from ..contract.functions import Apply
from ..contract.law import Law
from ..contract.metric import Metric
from ..contract.removal import Page
from .markdown import anchor, code, link, paragraphs, table, target, text

__all__ = ["MARKER", "Pages"]

MARKER = "<!-- Generated from the catalogue by coordexp-metrics generate. Edits are lost. -->"
_SIGNS = {"+": "+", "-": "−", "*": "×", "/": "/"}
_WHERE = "When", "Logged in", "By", "In the loss"


class Pages:
    """The pages of a catalogue, and which page each key stands on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.files = dict(zip(catalogue.pages, _file_names(catalogue.pages), strict=True))
        self._file_of = {m.key: self.files[page] for page in catalogue.pages for m in page.metrics}

    def family(self, page: Page) -> str:
        """The page of one family."""
        shared = _shared([_facts(metric) for metric in page.metrics])
        parts = [
            MARKER,
            f"# {text(page.name)}",
            paragraphs(page.text),
            _bullets(
                {"Keys": _keys(page), **shared, "Declared in": page.module and code(page.module)}
            ),
        ]
        sections = [(name, [*group]) for name, group in groupby(page.metrics, _provenance)]
        for name, metrics in sections:
            parts += self._section(name if len(sections) > 1 else "", metrics, shared)
        if page.laws:
            parts += ["## Laws", self.laws(page.laws)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _section(
        self, name: str, metrics: Sequence[Metric], above: Mapping[str, str]
    ) -> Iterator[str]:
        shared = _shared([_facts(metric) for metric in metrics])
        here = {fact: said for fact, said in shared.items() if above.get(fact) != said}
        if name:
            yield f"## {text(name)}"
            yield _bullets(here)
            here = {}
        rows = [self._row(metric, _facts(metric).items() - (shared if name else above).items())
                for metric in metrics]  # fmt: skip
        yield table(("Key", "Meaning", "Kind", "Value", "Contract"), rows)

    def _row(self, metric: Metric, differs: set[tuple[str, str]]) -> list[str]:
        facts = dict(differs)
        meaning = [text(metric.description)]
        if metric.formula is not None:
            meaning.append(f"= {self.formula(metric.formula)}")
        meaning += [f"{fact}: {facts[fact]}" for fact in _WHERE if fact in facts]
        if metric.internal:
            meaning.append("An internal helper: it never leaves.")
        return [
            "<br>".join([anchor(metric.key) + code(metric.key), *self._names(metric)]),
            "<br>".join(meaning),
            _kind(metric),
            "<br>".join(_value(metric)),
            text(metric.source),
        ]

    def _names(self, metric: Metric) -> Iterator[str]:
        if metric.eval_twin is not None:
            yield f"eval: {self.key(metric.eval_twin)}"
        elif "eval" in metric.modes and not metric.internal and metric.eval_key != metric.key:
            yield f"eval: {code(metric.eval_key)}"
        for alias in metric.aliases:
            yield f"also: {code(alias)}"
        if metric.deprecated is not None:
            yield self._deprecation(metric.deprecated)
        for alias in metric.logged_aliases:
            yield f"also logged: {code(alias)}"

    def _deprecation(self, end: Deprecated) -> str:
        instead = f"; use {self.meaning_of(end.replacement)}" if end.replacement else ""
        since, goes = text(f"since {end.since}"), text(f"it goes in {end.remove_in}")
        return f"**deprecated** {since}{instead}; {goes}"

    def key(self, metric: Metric) -> str:
        """A link to a key."""
        return link(code(metric.key), target(self._file_of[metric.key], metric.key))

    def meaning_of(self, spelling: str) -> str:
        """A link to what ``spelling`` names, or the spelling alone where nothing is declared."""
        found = self.catalogue.resolve(spelling)
        return code(spelling) if found is None else self.key(found.metric)

    def laws(self, laws: Sequence[Law]) -> str:
        """Laws as a list."""
        return "\n".join(
            f"* {text(law.statement)}: {self.formula(law.left)} "
            f"{'=' if law.relation == '==' else '≤'} {self.formula(law.right)}"
            + " (a breach is a hint)"
            * law.weak
            for law in laws
        )

    def formula(self, formula: Expression, at_least: int = 0) -> str:
        """A formula in print, its metrics as links."""
        match formula:
            case Metric():
                return self.key(formula)
            case Binary(symbol, left, right):
                own = formula.precedence
                operands = (
                    self.formula(left, own),
                    self.formula(right, own + (symbol in {"-", "/"})),
                )
                shown = f" {_SIGNS[symbol]} ".join(operands)
                return shown if own >= at_least else f"({shown})"
            case Apply(name, arguments):
                return f"{text(name)}({', '.join(map(self.formula, arguments))})"
        return text(str(formula))


def _file_names(pages: Sequence[Page]) -> Iterator[str]:
    """A file name a page: its family's name in lower case, numbered where two would be equal."""
    taken = {"readme", "laws", "removed"}
    for page in pages:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", page.name)
        stem = name = words.strip("-").lower()[:80] or "family"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        yield f"{name}.md"


def _provenance(metric: Metric) -> str:
    return metric.provenance or ""


def _keys(page: Page) -> str:
    further = "; further names are taken and read as the last one" if page.open_names else ""
    return code(re.sub(r"\{(name|provenance)\}", r"<\1>", page.pattern)) + further


def _facts(metric: Metric) -> dict[str, str]:
    """What metrics of a family mostly share."""
    in_loss = "yes" if metric.in_loss else "no"
    return {
        "When": text(metric.when.text) if metric.when else "",
        "Logged in": " and ".join(metric.modes),
        "By": text(", ".join(metric.emitted_by)),
        "In the loss": in_loss + f", if {text(metric.in_loss_when)}" * bool(metric.in_loss_when),
    }


def _shared(facts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = facts
    return {name: said for name, said in first.items() if all(o[name] == said for o in others)}


def _bullets(facts: Mapping[str, str]) -> str:
    return "\n".join(f"* {name}: {said}" for name, said in facts.items() if said)


def _kind(metric: Metric) -> str:
    level = getattr(metric, "level", None)
    return metric.kind if level is None else f"{metric.kind} {level:g}"


def _value(metric: Metric) -> Iterator[str]:
    per = f" per {text(metric.population)}" if metric.population else ""
    yield text(metric.unit) + per
    low, high = metric.bounds
    if high is not None:
        yield f"{'−∞' if low is None else f'{low:g}'} … {high:g}"
    elif low is not None:
        yield f"≥ {low:g}"
    if metric.better:
        yield {"higher": "↑ higher is better", "lower": "↓ lower is better"}[metric.better]
