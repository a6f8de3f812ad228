"""Catalogues: what a declaration gets wrong. An example is the metrics of a JSON catalogue."""

from __future__ import annotations

from ...audit.rules.rule import Rule

__all__ = ["CHECK"]

_LOST = '{"key": "panels/lost_total", "kind": "total", "unit": "panel", "description": "lost"}'
_ALL = '{"key": "panels/all_total", "kind": "total", "unit": "panel", "description": "all"}'
_RATE = (
    '{"key": "panels/lost_rate", "kind": "rate", "unit": "fraction", "description": "lost of all"'
    ', "formula": {"tree": ["/", {"metric": "panels/lost_total"}, {"metric": "panels/all_total"}]}}'
)


def _total(key: str, more: str = "") -> str:
    return f'{{"key": "{key}", "kind": "total", "unit": "panel", "description": "found"{more}}}'


def _ending(remove_in: str, replacement: str) -> str:
    return (
        f', "deprecated": {{"since": "0.0.1", "remove_in": "{remove_in}", '
        f'"replacement": "{replacement}"}}'
    )


def _mean(key: str, unit: str = "second") -> str:
    return (
        f'{{"key": "{key}", "kind": "mean", "unit": "{unit}", "population": "panel", '
        '"description": "time a panel takes"}'
    )


CHECK = (
    Rule(
        "CXM600",
        "refused-catalogue",
        "error",
        "The catalogue cannot be built: two names collide, a formula runs in a circle, ...",
        f"[{_total('panels/found_total')}, {_total('panels/Found_total')}]",
        f"[{_total('panels/found_total')}]",
    ),
    Rule(
        "CXM601",
        "count-without-suffix",
        "error",
        "A counter ends with _total, _count, _sum, _num or _den.",
        f"[{_total('panels/found')}]",
        f"[{_total('panels/found_total')}]",
    ),
    Rule(
        "CXM602",
        "ratio-without-suffix",
        "warning",
        "A ratio should end with _rate or _frac.",
        f"[{_LOST}, {_ALL}, {_RATE.replace('lost_rate', 'loss_of_panels')}]",
        f"[{_LOST}, {_ALL}, {_RATE}]",
    ),
    Rule(
        "CXM603",
        "suffix-against-kind",
        "error",
        "The suffix promises another kind or unit than the one that is declared.",
        f"[{_mean('panels/read_total')}]",
        f"[{_mean('panels/read_s_mean')}]",
    ),
    Rule(
        "CXM604",
        "no-unit-or-population",
        "error",
        "The unit says nothing, or a mean or quantile does not say what it is taken over.",
        f"[{_mean('panels/read_mean', 'unknown')}]",
        f"[{_mean('panels/read_mean')}]",
    ),
    Rule(
        "CXM605",
        "names-too-alike",
        "warning",
        "Two names differ by one letter, or only in how their words are joined.",
        f"[{_total('panels/matched_total')}, {_total('panels/matches_total')}]",
        f"[{_total('panels/matched_total')}, {_total('panels/missed_total')}]",
    ),
    Rule(
        "CXM606",
        "circle-of-names",
        "error",
        "Names lead back to where they started: a key that replaces itself, by whatever detour.",
        f"[{_total('a_total', _ending('999', 'b_total'))}, "
        f"{_total('b_total', _ending('999', 'a_total'))}]",
        f"[{_total('a_total', _ending('999', 'b_total'))}, {_total('b_total')}]",
    ),
    Rule(
        "CXM607",
        "dead-replacement",
        "error",
        "What is to be used instead of a removed or deprecated key is not in the catalogue.",
        f"[{_total('a_total', _ending('999', 'c_total'))}, {_total('b_total')}]",
        f"[{_total('a_total', _ending('999', 'b_total'))}, {_total('b_total')}]",
    ),
    Rule(
        "CXM608",
        "collision-in-ecosystem",
        "error",
        "Two metrics get one name where a trainer or a dashboard spells keys its own way.",
        f"[{_mean('panels/read')}, {_mean('panels/read_step')}]",
        f"[{_mean('panels/read')}, {_mean('panels/read_each')}]",
    ),
    Rule(
        "CXM609",
        "expired-deprecation",
        "error",
        "The version in which the key should be gone has come.",
        f"[{_total('a_total', _ending('0.0.2', 'b_total'))}, {_total('b_total')}]",
        f"[{_total('a_total', _ending('999', 'b_total'))}, {_total('b_total')}]",
    ),
    Rule(
        "CXM610",
        "formula-over-absent-part",
        "error",
        "The formula needs a metric that is never there when its own metric should be.",
        f'[{_LOST[:-1]}, "modes": ["train"]}}, {_ALL}, {_RATE}]',
        f"[{_LOST}, {_ALL}, {_RATE}]",
    ),
)
