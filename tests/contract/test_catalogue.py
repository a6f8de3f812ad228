"""The catalogue: every metric under one name, looked up by any."""

import json
import sys
from enum import StrEnum

import pytest

from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import derived, mean, quantile, rate, total
from coordexp_metrics.contract.errors import DeclarationError, RemovedKeyError, UnknownKeyError
from coordexp_metrics.contract.family import Family, FamilyOver
from coordexp_metrics.contract.units import FRACTION, NAT, OBJECT, TOKEN, Unit
from tests.small import SMALL, Aliased, Diag, Forward, Rollout


def test_a_handle_is_the_metric_of_the_catalogue():
    assert SMALL["rollout/precision"] is Rollout.precision
    assert SMALL["diag/B/p_gt_mean"] is Diag(Forward.ROLLOUT).p_gt_mean
    assert Diag(Forward.ROLLOUT) is Diag(Forward.ROLLOUT)


def test_a_metric_knows_what_its_line_and_its_family_say():
    metric = SMALL["diag/B/p_gt_mean"]
    assert (metric.key, metric.eval_key) == ("diag/B/p_gt_mean", "eval_diag/B/p_gt_mean")
    assert (metric.kind, metric.unit, metric.population) == ("mean", "fraction", "token")
    assert (metric.family, metric.provenance, metric.better) == ("Diag", "B", "higher")
    assert metric.modes == ("train", "eval")
    assert metric.declared_at[0].endswith("small.py")
    assert SMALL["rollout/f1"].source == "metrics_and_losses.md:195"


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("loss", "loss"),
        ("eval_loss", "loss"),
        ("train/loss", "loss"),
        ("eval/loss", "loss"),
        ("test_loss", "loss"),
        ("eval_rollout/f1", "rollout/f1"),
        ("eval/rollout/f1", "rollout/f1"),
        ("train/rollout/f1", "rollout/f1"),
        ("train/samples_total", "train/samples_total"),
        ("train/train/samples_total", "train/samples_total"),
        ("eval_rollout/gt_objects", "eval_rollout/gt_objects"),
        ("token_entropy", "text/entropy"),
        ("eval_token_entropy", "text/entropy"),
        ("legacy/entropy", "text/entropy"),
    ],
)
def test_every_spelling_resolves(spelling, key):
    assert SMALL[spelling].key == key
    assert spelling in SMALL


@pytest.mark.parametrize(
    "name", ["eval_train/samples_total", "eval_eval_loss", "nothing", "", "x" * 999]
)
def test_other_names_do_not(name):
    assert name not in SMALL
    with pytest.raises(UnknownKeyError):
        SMALL[name]


def test_an_unknown_key_says_what_is_near():
    with pytest.raises(UnknownKeyError) as caught:
        SMALL["rolout/f1"]
    assert caught.value.key == "rolout/f1"
    assert caught.value.near[0] == "rollout/f1"
    assert str(caught.value) == "'rolout/f1' is not in the catalogue; did you mean 'rollout/f1'?"
    assert isinstance(caught.value, KeyError)


def test_near_names_hide_internal_helpers():
    with pytest.raises(UnknownKeyError) as caught:
        SMALL["rollout/_sample"]
    assert "rollout/_samples" not in caught.value.near


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("loss/ce", ("loss/text/ce",)),
        ("obj/a/b", ("loss/a/b",)),
        ("eval_loss/ce", ("loss/text/ce",)),
    ],
)
def test_a_removed_key_says_what_replaces_it(key, instead):
    with pytest.raises(RemovedKeyError) as caught:
        SMALL[key]
    assert caught.value.replacements == instead
    assert key not in SMALL
    assert SMALL.get(key) is None


def test_suppression_is_for_evaluation():
    assert SMALL.is_suppressed("eval_rollout/bbox_AP50", "eval")
    assert SMALL.is_suppressed("rollout/bbox_AP50", "eval")
    assert not SMALL.is_suppressed("rollout/bbox_AP50", "train")


def test_a_digest_covers_kind_unit_population_and_formula():
    def family(**change):
        about = {"per": TOKEN, "unit": NAT} | change
        return type("F", (Family,), {"x": mean("text", **about)}, pattern="f/{name}")

    base = Catalogue(family()).digest
    assert Catalogue(family()).digest == base
    assert Catalogue(family(unit=FRACTION)).digest != base
    assert Catalogue(family(per=OBJECT)).digest != base
    assert (
        Catalogue(family(formula=Rollout.matched * 2), Rollout).digest
        != Catalogue(family(), Rollout).digest
    )
    assert Catalogue(family(better="higher")).digest == base


def test_open_names_read_like_the_last_metric_of_their_family():
    class Reasons(Family, pattern="reason/{name}", open_names=True):
        """Why."""

        bad = total("bad ones", unit=OBJECT)
        other = total("others", unit=OBJECT)

    catalogue = Catalogue(Reasons)
    assert catalogue["reason/strange"].kind == "total"
    assert catalogue["reason/strange"].key == "reason/strange"
    assert catalogue["eval_reason/strange"].key == "reason/strange"
    assert "reason/a/b" not in catalogue
    assert "reason/_x" not in catalogue
    assert len(catalogue) == 2


def test_extended_by_a_family_a_module_and_a_json_file(tmp_path, monkeypatch):
    class Mine(Family, pattern="my/{name}"):
        """My own."""

        depth = mean("depth", per=Unit("panel"))

    assert SMALL.extended(Mine)["my/depth"] is Mine.depth
    (tmp_path / "my_metrics.py").write_text(
        "from coordexp_metrics.contract.declare import total\n"
        "from coordexp_metrics.contract.family import Family\n"
        "from coordexp_metrics.contract.units import TOKEN\n"
        "class Theirs(Family, pattern='their/{name}'):\n"
        "    '''Theirs.'''\n"
        "    n_total = total('n', unit=TOKEN)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert SMALL.extended("my_metrics")["their/n_total"].kind == "total"
    sys.modules.pop("my_metrics")
    with pytest.raises(DeclarationError, match="no module, no entry point"):
        SMALL.extended("no_such_module")
    with pytest.raises(DeclarationError):
        SMALL.extended("json")


def test_extending_keeps_laws_and_removals():
    class Mine(Family, pattern="my/{name}"):
        """My own."""

        n_total = total("n", unit=TOKEN)

    extended = SMALL.extended(Mine)
    assert len(extended.laws) == len(SMALL.laws)
    assert extended.extended().digest == extended.digest != SMALL.digest
    with pytest.raises(RemovedKeyError):
        extended["loss/ce"]


class Two(StrEnum):
    """Two passes."""

    A = "A"
    B = "B"


def _family(pattern, **lines):
    return type("Made", (Family,), lines, pattern=pattern)


def _n(**about):
    return total("n", unit=TOKEN, **about)


@pytest.mark.parametrize(
    ("families", "why"),
    [
        (lambda: [_family("a/{name}", x=_n()), _family("a/{name}", x=_n())], "a/x"),
        (lambda: [_family("a/{name}", x=_n(), X=_n())], "would stand for"),
        (lambda: [_family("{name}", x=_n(), eval_x=_n())], "eval_x"),
        (lambda: [_family("{name}", x=_n()), _family("train/{name}", x=_n())], "train/"),
        (lambda: [_family("a/{name}", x=_n(aliases=("a/y",)), y=_n())], "a/y"),
        (lambda: [_family("a/{name}", x=_n(name="b.c")), _family("a/b/{name}", c=_n())], "b.c"),
        (lambda: [_family("a/{name}", r=rate("r", Rollout.matched, Rollout.gt_total))], "not in"),
    ],
)
def test_K08_K11_collisions_and_foreign_formulas_are_refused(families, why):
    with pytest.raises(DeclarationError, match=why):
        Catalogue(*families())


def _over(pattern):
    class Over(FamilyOver[Two], pattern=pattern):
        """Over two passes."""

        x = _n()

    return Over


@pytest.mark.parametrize(
    "declare",
    [
        lambda: _family("a", x=total("x", unit=TOKEN)),
        lambda: _family("a b/{name}", x=total("x", unit=TOKEN)),
        lambda: _over("a/{name}"),
        lambda: quantile(1.5, "x", unit=TOKEN, limits=(1, 2)),
        lambda: quantile(0.5, "x", unit=TOKEN),
        lambda: _family("b/{name}", x=Rollout.matched),
        lambda: Diag("C"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused(declare):
    with pytest.raises(DeclarationError):
        declare()


def test_formulas_in_a_circle_are_refused():
    a = derived("a", Rollout.matched + 1, unit=OBJECT)
    family = _family("c/{name}", a=a, b=derived("b", a + 1, unit=OBJECT))
    object.__setattr__(family.a, "formula", family.b + 1)
    with pytest.raises(DeclarationError, match="circle"):
        _ = Catalogue(family).computed


def test_computed_metrics_come_after_their_inputs():
    one = derived("one", Rollout.matched + 1, unit=OBJECT)
    two = derived("two", one + 1, unit=OBJECT)
    family = _family("c/{name}", two=two, one=one)
    order = [metric.key for metric in Catalogue(family, Rollout).computed]
    assert order.index("c/one") < order.index("c/two")


def test_an_alias_is_marked():
    resolution = SMALL.resolve("token_entropy")
    assert resolution is not None
    assert resolution.alias
    assert resolution.metric is Aliased.entropy
    assert json.dumps(resolution.metric.key) == '"text/entropy"'


def test_extended_by_an_entry_point(tmp_path, monkeypatch):
    """An installed package offers its families under the group ``coordexp_metrics.catalogues``."""
    (tmp_path / "plugged.py").write_text(
        "from coordexp_metrics.contract.declare import total\n"
        "from coordexp_metrics.contract.family import Family\n"
        "from coordexp_metrics.contract.units import TOKEN\n"
        "class Plugged(Family, pattern='plugged/{name}'):\n"
        "    '''From a plug-in.'''\n"
        "    n_total = total('n', unit=TOKEN)\n"
    )
    meta = tmp_path / "plugged-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(
        "[coordexp_metrics.catalogues]\nfrom-a-plug-in = plugged\nits-family = plugged:Plugged\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("from-a-plug-in", "its-family"):
        assert SMALL.extended(name)["plugged/n_total"].kind == "total"
    sys.modules.pop("plugged")
