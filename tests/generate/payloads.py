"""Payloads for the comparison of the package with the schema: good ones, and ones with a fault."""

import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.check import SLACK, Checker
from coordexp_metrics.contract.errors import PayloadError
from coordexp_metrics.contract.keys import well_formed
from coordexp_metrics.contract.metric import Metric
from coordexp_metrics.contract.payload import Payload

REFUSED = {"removed", "internal", "out_of_range", "not_whole"}
MISSING = object()


def spellings(metric: Metric) -> list[str]:
    names = [metric.key, metric.eval_key, *metric.aliases, *metric.logged_aliases]
    return names + [f"eval_{name}" for name in names]


def fair_values(metric: Metric) -> st.SearchStrategy[Any]:
    low, high = metric.bounds
    if metric.whole:
        least = math.ceil(-1000 if low is None else low)
        most = math.floor(1000 if high is None else high)
        return st.integers(least, most) | st.integers(least, most).map(float)
    return st.floats(low, high, allow_nan=False, allow_infinity=False) | st.just(low or 0)


ODD_VALUES = st.sampled_from(
    [
        *(True, None, "1", "nan", [], {}, {"a": 1}, math.nan, math.inf, -math.inf),
        *(-1, -0.0, -1e-7, 0.5, 1.5, 1 + 1e-7, 1000, 1e300, 2**70, 10**400),
    ]
)
ODD_KEYS = st.sampled_from(
    [
        *("loss\n", "", "a//b", "/a", "a/", "../x", "a/.b", "~x", "é", "a b", "\x00", "a|b"),
        *("_x", "a/_x", "a/_x/b", "eval__x", "x" * 200, "x" * 201, "a" * 5000, "$ref", "Loss"),
        *("train/loss", "eval/loss", "test/loss", "test_loss", "train/rollout/f1", "eval_"),
        *("loss/x_obj", "eval_loss/x_obj", "eval_eval_loss/x_obj", "loss/_obj", "loss/a/geo"),
        *("obj/", "obj/a", "eval_obj/a", "obj/_a", "bbox_AP", "rollout/bbox_AP"),
        *("eval_eval_rollout/bbox_AP", "constructor", "__proto__"),
    ]
)
STEPS = st.sampled_from([0, 7, 2**63 - 1, 2**63, 2**70, -1, 1.0, 0.5, True, None, "7", math.nan])
VERSIONS = st.sampled_from([1, 1, 1, 0, 2, -1, 1.0, True, "1", None, [], MISSING])
MODES = st.sampled_from(["train", "eval", "test", "Train", "", None, 1, [], MISSING])
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "nonfinite": st.sampled_from(
            [
                *(None, {}, [], "nan", {"loss": "nan"}, {"loss": "-inf"}, {"loss": "NaN"}),
                *({"loss\n": "nan"}, {"loss": 1}, {"loss": None}, {"a": []}),
            ]
        ),
        "coverage": st.sampled_from([None, {}, {"world_size": 8}, [], 1, "x"]),
        "dataset": st.sampled_from([None, "", "lvis", "d" * 200, "d" * 201, 1, []]),
        "further": st.sampled_from([None, 1, {}, [[]]]),
    },
)


def _patterned_keys(catalogue: Catalogue) -> st.SearchStrategy[str]:
    """Keys that removed, suppressed and open patterns mean, and keys that they nearly mean."""
    opened = [
        page.pattern.replace("{name}", "*").replace("{provenance}", "A1")
        for page in catalogue.pages
        if page.open_names
    ]
    groups = (
        [entry.pattern for entry in catalogue.removed],
        [entry.pattern for entry in catalogue.suppressed],
        opened,
    )
    pattern = st.one_of(*(st.sampled_from(group) for group in groups if group))
    filler = st.sampled_from(["ce", "a/b", "x_obj", "1", "_x"])
    form = st.sampled_from([str, "eval_{}".format, lambda key: key.removeprefix("eval_")])
    return st.tuples(pattern, filler, form).map(lambda p: p[2](p[0].replace("*", p[1])))


def wrong_values(metric: Metric) -> list[Any]:
    """Values that the range or the kind of ``metric`` may exclude."""
    beyond = [bound + step for bound in metric.bounds if bound is not None for step in (-1, 0, 1)]
    fractions = [0.5, 1.5, 2.25] * metric.whole
    return [*beyond, *fractions, 0.5, -0.5, 1e9, -1e9]


def payloads(catalogue: Catalogue) -> st.SearchStrategy[Any]:
    """Plain ones, ones with an odd value, an odd key, or an odd envelope, in equal parts."""
    metrics = st.sampled_from(list(catalogue.values()))
    aliased = st.sampled_from([m for m in catalogue.values() if m.aliases or m.logged_aliases])

    def entries(chosen: Metric, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.tuples(st.sampled_from(spellings(chosen)), values)

    fair = metrics.flatmap(lambda m: entries(m, fair_values(m)))
    wrong = (metrics | aliased).flatmap(lambda m: entries(m, st.sampled_from(wrong_values(m))))
    odd = metrics.flatmap(lambda m: entries(m, ODD_VALUES))
    patterned = st.tuples(_patterned_keys(catalogue), st.sampled_from([1, 0.5, -1]))
    strange = st.tuples(ODD_KEYS | st.text(max_size=12), st.just(1) | ODD_VALUES)
    good = st.lists(fair, max_size=4).map(dict)

    def plain(extra: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.fixed_dictionaries(
            {
                "schema_version": st.just(1),
                "mode": st.sampled_from(["train", "eval"]),
                "global_step": st.integers(0, 2**63 - 1),
                "metrics": st.tuples(good, extra).map(lambda parts: parts[0] | dict([parts[1]])),
            }
        )

    envelope = st.fixed_dictionaries(
        {
            "schema_version": VERSIONS,
            "mode": MODES,
            "global_step": STEPS | st.just(MISSING),
            "metrics": good | st.sampled_from([MISSING, None, [], "x", 1]),
        }
    ).map(lambda found: {name: part for name, part in found.items() if part is not MISSING})
    sections = st.tuples(plain(fair), SECTIONS).map(lambda parts: parts[0] | parts[1])
    nothing = st.sampled_from([None, [], 1, "x", {}])
    named = [plain(entry) for entry in (fair, wrong, odd, patterned, strange)]
    return st.one_of(*named, plain(wrong), plain(patterned), envelope, sections, nothing)


class Package:
    """What the package says of payloads under a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.checker = Checker(catalogue)
        self.spelled = {name for metric in catalogue.values() for name in spellings(metric)}

    def takes(self, payload: Any) -> bool:
        """Whether the package finds nothing of what a schema can say."""
        try:
            parsed = Payload.parse(payload)
        except PayloadError:
            return False
        nonfinite = [key for key in parsed.nonfinite if key in payload["metrics"]]
        names = self.checker.plan((*parsed.metrics, *nonfinite), parsed.mode).names
        found = {violation.code for violation in self.checker.check(parsed.metrics, parsed.mode)}
        gone = {"key.suppressed", "key.internal", "key.removed"}
        return not found & REFUSED and not gone & {*names.dropped.values()}

    def differs(self, payload: Any) -> set[str]:
        """Which entries of the written list of differences ``payload`` falls under."""
        if not isinstance(payload, dict):
            return set()
        found = set()
        if any(type(payload.get(name)) is float for name in ("schema_version", "global_step")):
            found.add("integral_float")
        numbers = payload.get("metrics")
        for key, value in numbers.items() if isinstance(numbers, dict) else ():
            if type(value) in {int, float} and well_formed(key):
                found |= set(self._differs(key, value))
        return found

    def _differs(self, key: str, value: float) -> Iterator[str]:
        if type(value) is float and not math.isfinite(value):
            yield "nonfinite"
        if type(value) is int and abs(value) > 2**1024 - 2**970:
            yield "huge_integer"
        resolved = self.catalogue.resolve(key)
        if resolved is not None:
            if key not in self.spelled and not self._open(key):
                yield "dashboard_spelling"
            if not resolved.metric.whole and any(_near(value, b) for b in resolved.metric.bounds):
                yield "tolerance"

    def _open(self, key: str) -> bool:
        return any(page.open_name(key.removeprefix("eval_")) for page in self.catalogue.pages)


def _near(value: float, bound: float | None) -> bool:
    if bound is None or value == bound:
        return False
    slack = 2 * SLACK * max(1.0, abs(bound))
    return bound - slack <= value <= bound + slack
