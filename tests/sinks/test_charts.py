"""The charts follow from the declarations: what is overlaid is comparable, and nothing is alone."""

from __future__ import annotations

import re

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import (
    agreed,
    derived,
    mean,
    quantile,
    rate,
    shared_quantile,
    total,
)
from coordexp_metrics.contract.family import Family
from coordexp_metrics.contract.units import OBJECT, SECOND, TOKEN
from coordexp_metrics.sinks.charts import Chart, charts_of

CHARTS = charts_of(CATALOGUE)


def keys_of(title: str, category: str) -> tuple[str, ...]:
    (found,) = [c.keys for c in CHARTS if (c.title, c.category) == (title, category)]
    return found


def test_the_passes_are_overlaid_name_by_name() -> None:
    for name in ("p_gt_mean", "acc_top5", "expected_bin_mae"):
        for category, prefix in [("coord_diag", ""), ("coord_diag (evaluation)", "eval_")]:
            keys = tuple(f"{prefix}coord_diag/{over}/{name}" for over in ("A1", "A2", "B"))
            assert keys_of(f"coord_diag/*/{name}", category) == keys


def test_the_atoms_of_a_pass_stand_together() -> None:
    atoms = keys_of("loss/A2_coord/*", "loss")
    declared = [key for key in CATALOGUE if key.startswith("loss/A2_coord/")]
    assert list(atoms) == declared
    assert len(atoms) == 10


def test_a_mean_stands_with_the_quantiles_of_its_population() -> None:
    assert (
        "rollout/gen_new_tokens_mean",
        "rollout/gen_new_tokens_p90",
        "rollout/gen_new_tokens_p99",
    ) in {chart.keys for chart in CHARTS}
    assert ("coord_diag/B/expected_bin_mae", "coord_diag/B/expected_bin_abs_err_p90") in {
        chart.keys for chart in CHARTS
    }


def test_f1_stands_with_the_rates_that_it_is_made_of() -> None:
    own = ("rollout/precision", "rollout/recall", "rollout/f1")
    assert keys_of("rollout/precision, recall, f1", "rollout") == own
    evaluated = keys_of("rollout/precision, recall, f1", "rollout (evaluation)")
    assert evaluated == tuple(f"eval_{key}" for key in own)


def test_the_token_types_stand_together() -> None:
    assert set(keys_of("*_token_acc", "run")) == {
        *("token_acc", "text_token_acc"),
        *(f"{kind}_token_acc" for kind in ("desc", "format", "coord")),
    }


def test_training_stands_over_evaluation_for_the_terms_of_the_loss() -> None:
    assert keys_of("loss", "training and evaluation") == ("loss", "eval_loss")


def test_every_chart_compares_like_with_like() -> None:
    for chart in CHARTS:
        units = {CATALOGUE[key].unit for key in chart.keys}
        assert len(units) == 1, chart
        assert len(chart.keys) == len(set(chart.keys)) > 1
        assert not any(key.rpartition("/")[2].startswith("_") for key in chart.keys)


def test_no_chart_lies_within_another() -> None:
    sets = [set(chart.keys) for chart in CHARTS]
    assert not [a for a in sets for b in sets if a is not b and a <= b]
    assert len({(chart.category, chart.title) for chart in CHARTS}) == len(CHARTS)


def test_the_regex_matches_its_keys_and_nothing_else() -> None:
    for chart in CHARTS:
        regex = re.compile(chart.regex)
        assert {key for key in _every_key() if regex.match(key)} == set(chart.keys)
    hostile = Chart("c", "t", ("a.b(s)", "c"), "d.")
    assert [
        key
        for key in ("a.b(s)", "aXb(s)", "aXbs", "c", "d.x", "dXx", "d.")
        if re.match(hostile.regex, key)
    ] == ["a.b(s)", "c", "d.x"]


def _every_key() -> set[str]:
    shown = [metric for metric in CATALOGUE.values() if not metric.internal]
    return {metric.key_in(mode) for metric in shown for mode in metric.modes}


def test_new_reasons_for_a_drop_join_the_chart() -> None:
    (chart,) = [c for c in CHARTS if c.title.endswith("strict_drop/reason/*")]
    assert "stage2_ab/channel_b/strict_drop/reason/other" in chart
    assert "stage2_ab/channel_b/strict_drop/reason/no_geometry" in chart
    assert re.match(chart.regex, "stage2_ab/channel_b/strict_drop/reason/no_geometry")
    assert "stage2_ab/channel_b/strict_drop/N_valid_pred" not in chart


def test_a_catalogue_of_ones_own_gets_charts() -> None:
    class Work(Family, pattern="work/{name}"):
        """What a step took."""

        read_s = mean("reading", per=OBJECT, unit=SECOND)
        write_s = mean("writing", per=OBJECT, unit=SECOND)
        write_tokens = mean("tokens", per=OBJECT, unit=TOKEN)
        left_limit = agreed("a setting")
        right_limit = agreed("another setting")
        count = total("objects", unit=OBJECT)
        _hidden_s = mean("internal", per=OBJECT, unit=SECOND)

    train, evaluation = charts_of(Catalogue(Work))
    assert train == Chart("work", "work/*_s", ("work/read_s", "work/write_s"))
    assert evaluation.keys == ("eval_work/read_s", "eval_work/write_s")


def test_each_quantile_stands_with_those_of_its_own_population() -> None:
    class Lengths(Family, pattern="length/{name}"):
        """Two populations of one unit."""

        read_p90 = quantile(0.9, "read", per=OBJECT, unit=TOKEN, limits=(1.0, 1e6))
        read_p99 = shared_quantile(0.99, "read", of=read_p90)
        sent_p50 = quantile(0.5, "sent", per=TOKEN, unit=TOKEN, limits=(1.0, 1e6))
        sent_p95 = shared_quantile(0.95, "sent", of=sent_p50)

    charts = charts_of(Catalogue(Lengths))[:2]
    assert [chart.keys for chart in charts] == [
        ("length/read_p90", "length/read_p99"),
        ("length/sent_p50", "length/sent_p95"),
    ]


def test_a_formula_stands_with_rates_only_where_they_make_it_up() -> None:
    class Work(Family, pattern="{name}"):
        """A formula that reads more than the rate does."""

        done = total("done", unit=OBJECT)
        tried = total("tried", unit=OBJECT)
        lost = total("lost", unit=TOKEN)
        success = rate("done / tried", done, tried)
        waste = derived("all three", lost / (done + tried), unit=success.unit)

    assert not [chart for chart in charts_of(Catalogue(Work)) if "waste" in chart.keys]


def test_new_names_of_evaluation_join_the_chart_of_evaluation() -> None:
    class Reasons(Family, pattern="why/{name}", open_names=True):
        """Takes new names."""

        first = total("one", unit=OBJECT)
        other = total("another", unit=OBJECT)

    train, evaluation = charts_of(Catalogue(Reasons))
    assert ("why/new" in train, "eval_why/new" in train) == (True, False)
    assert ("why/new" in evaluation, "eval_why/new" in evaluation) == (False, True)
