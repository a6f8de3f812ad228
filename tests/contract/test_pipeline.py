"""A Stage-2 run is what its settings resolve to: the same meaning has the same checksum."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, DeclarationError, PipelineIdentity, pipeline_checksum
from coordexp_metrics.contract.modules import DIAGNOSTICS, OBJECTIVE
from coordexp_metrics.contract.pipeline import pipeline_advice, resolve_pipeline
from coordexp_metrics.contract.weights import active_atoms, active_coord_diag, effective_weights

TWO, ALIGNED = "stage2_two_channel", "stage2_rollout_aligned"
VARIANTS = [TWO, ALIGNED]
ATOMS = [key for key in CATALOGUE if key.startswith("loss/") and CATALOGUE[key].in_loss]


def pipeline(*objective, variant=TWO, diagnostics=("coord_diag",), **settings):
    lists = {"objective": list(objective), "diagnostics": list(diagnostics)}
    return resolve_pipeline({**lists, **settings}, variant)


def module(name, /, weight=1.0, **config):
    return {"name": name, "weight": weight, "config": config}


def active(*objective, variant=TWO, n=2):
    return active_atoms(pipeline(*objective, variant=variant), n)


def test_defaults_and_what_they_spell_are_one_identity():
    implicit = resolve_pipeline({"custom": {"trainer_variant": TWO}})
    explicit = resolve_pipeline(
        {
            "custom.trainer_variant": TWO,
            "stage2_ab": {"coord_ctx_embed_mode": "soft", "coord_decode_mode": "exp"},
            "objective": [
                {"name": "token_ce", "weight": 1, "enabled": True, "channels": ["B", "A"],
                 "config": {"desc_ce_weight": 1, "rollout_fn_desc_weight": None}},
                "bbox_geo",
                {"name": "coord_reg", "config": None},
            ],
        }
    )  # fmt: skip
    assert explicit == implicit
    assert explicit.checksum == implicit.checksum
    assert [m["name"] for m in implicit.objective] == ["token_ce", "bbox_geo", "coord_reg"]
    assert [m["name"] for m in implicit.diagnostics] == ["coord_diag"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_resolving_what_is_resolved_changes_nothing(variant):
    once = resolve_pipeline({}, variant)
    modules = {"objective": once.objective, "diagnostics": once.diagnostics}
    assert resolve_pipeline({**modules, **once.extra}, variant) == once


def test_the_checksum_is_that_of_the_three_parts():
    found = resolve_pipeline({}, TWO)
    parts = (found.objective, found.diagnostics, found.extra)
    assert found.checksum == pipeline_checksum(*parts)


@pytest.mark.parametrize("context", [{"config": "b.yaml"}, {"run_name": "b"}, {"seed": 8}])
def test_run_context_is_logged_beside_and_not_hashed(context):
    base = {"config": "a.yaml", "run_name": "a", "seed": 7}
    one, other = resolve_pipeline(base, TWO), resolve_pipeline({**base, **context}, TWO)
    assert one.checksum == other.checksum
    assert one == other
    assert other.to_record()["run_context"] == {**base, **context}
    assert set(other.to_record()) == {
        "pipeline_checksum", "objective", "diagnostics", "extra", "run_context",
    }  # fmt: skip
    assert other.to_record()["pipeline_checksum"] == one.checksum
    assert json.loads(json.dumps(other.to_record())) == other.to_record()


def test_settings_of_no_meaning_for_the_objective_are_left_out():
    base = resolve_pipeline({}, TWO)
    settings = {"stage2_ab": {"schedule": {"b_ratio": 0.5}}, "training": {"lr": 1}}
    assert resolve_pipeline(settings, TWO) == base


CHANGES = [
    {"stage2_ab.coord_ctx_embed_mode": "st"},
    {"stage2_ab": {"coord_decode_mode": "st"}},
    {"diagnostics": []},
    {"diagnostics": [{"name": "coord_diag", "weight": 0.5}]},
    {"objective": ["bbox_geo", "token_ce", "coord_reg"]},
    {"objective": ["token_ce", "bbox_geo"]},
    {"objective": ["token_ce", "bbox_geo", module("coord_reg", 0.5)]},
    {"objective": ["token_ce", "bbox_geo", module("coord_reg", temperature=0.7)]},
    {"objective": ["token_ce", "bbox_geo", module("coord_reg", coord_ce_weight=0.1)]},
    {"objective": ["token_ce", "bbox_geo", {"name": "coord_reg", "channels": ["B"]}]},
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_objective_changes_the_checksum(change):
    assert resolve_pipeline(change, TWO).checksum != resolve_pipeline({}, TWO).checksum


def test_a_disabled_module_is_no_module():
    off = {"name": "coord_reg", "enabled": False}
    assert pipeline("token_ce", off) == pipeline("token_ce")


def test_the_semantic_extra_is_that_of_the_variant():
    settings = {
        "stage2_ab": {"coord_ctx_embed_mode": "hard", "coord_decode_mode": "st"},
        "rollout_matching": {"coord_decode_mode": "st"},
    }
    assert resolve_pipeline(settings, TWO).extra == {
        "variant": TWO,
        "stage2_ab.coord_ctx_embed_mode": "hard",
        "stage2_ab.coord_decode_mode": "st",
    }
    assert resolve_pipeline(settings, ALIGNED).extra == {
        "variant": ALIGNED,
        "rollout_matching.coord_decode_mode": "st",
    }


@pytest.mark.parametrize(
    ("variant", "section"), [(TWO, "stage2_ab"), (ALIGNED, "rollout_matching")]
)
def test_the_lists_stand_at_the_top_or_in_the_section_of_the_variant(variant, section):
    lists = {"objective": ["token_ce"], "diagnostics": []}
    assert resolve_pipeline({section: {"pipeline": lists}}, variant) == resolve_pipeline(
        lists, variant
    )
    with pytest.raises(DeclarationError, match="both set"):
        resolve_pipeline({section: {"pipeline": lists}, **lists}, variant)


MODES = {
    "stage2_ab.coord_ctx_embed_mode": {"soft", "st", "hard"},
    "stage2_ab.coord_decode_mode": {"exp", "st"},
    "rollout_matching.coord_decode_mode": {"exp", "st"},
}


@pytest.mark.parametrize("setting", MODES)
@pytest.mark.parametrize("mode", ["soft", "st", "hard", "exp", "ST", "", None, 1, ["st"]])
def test_the_documented_values_are_all_there_are(setting, mode):
    if isinstance(mode, str) and mode in MODES[setting]:
        assert setting not in (found := resolve_pipeline({setting: mode}, TWO).extra) or (
            found[setting] == mode
        )
    else:
        with pytest.raises(DeclarationError, match=r"it must be (soft\|st\|hard|exp\|st)"):
            resolve_pipeline({setting: mode}, TWO)


REFUSED = {
    "the flat weight": (
        {"stage2_ab": {"fmt_struct_ce_weight": 0.1}},
        "use token_ce.config.self_context_struct_ce_weight",
    ),
    "the flat weight in a module": (
        {"objective": [module("token_ce", fmt_struct_ce_weight=0.1)]},
        "was removed; use 'token_ce.config.self_context_struct_ce_weight'",
    ),
    "reordered_gt_sft as a value": (
        {"stage2_ab": {"channel_b": {"mode": "reordered_gt_sft"}}},
        "stage2_ab.channel_b.mode: reordered_gt_sft was removed; Channel-B is unified",
    ),
    "reordered_gt_sft as a key": (
        {"stage2_ab.reordered_gt_sft": {"enabled": True}}, "reordered_gt_sft was removed",
    ),
    "an old name": ({"objective": ["bbox_geo_obj"]}, "was removed; use 'bbox_geo'"),
    "an old prefix": ({"objective": ["obj/coord_reg"]}, "was removed; use 'coord_reg'"),
    "an old prefix and name": ({"objective": ["obj/token_ce_obj"]}, "removed; use 'token_ce'"),
    "a misspelt module": ({"objective": ["coord_rag"]}, "did you mean 'coord_reg'"),
    "a misspelt diagnostic": ({"diagnostics": ["coord-diag"]}, "did you mean 'coord_diag'"),
    "a misspelt weight": (
        {"objective": [module("bbox_geo", ciuo_weight=1)]}, "did you mean 'ciou_weight'",
    ),
    "a misspelt field": ({"objective": [{"name": "bbox_geo", "wieght": 1}]}, "mean 'weight'"),
    "an unknown module": ({"objective": ["zzz"]}, "there is token_ce, bbox_geo, coord_reg"),
    "a weight of a diagnostic": (
        {"diagnostics": [module("coord_diag", x_weight=1)]}, "there is none",
    ),
    "a module twice": ({"objective": ["token_ce", "token_ce"]}, "twice"),
    "no list": ({"objective": "token_ce"}, "a list of modules"),
    "a mapping": ({"objective": [{"weight": 1}]}, "a mapping with a name"),
    "a NaN": ({"objective": [module("token_ce", float("nan"))]}, "weight is nan"),
    "a bool": ({"objective": [module("token_ce", True)]}, "a finite number"),
    "no weight": ({"objective": [module("token_ce", None)]}, "a finite number"),
    "a text": ({"objective": [module("token_ce", desc_ce_weight="1")]}, "a finite number"),
    "a channel": ({"objective": [{"name": "token_ce", "channels": ["C"]}]}, "a list of A and B"),
    "channels in a word": ({"objective": [{"name": "token_ce", "channels": "AB"}]}, "a list of"),
    "a config": ({"objective": [{"name": "token_ce", "config": [1]}]}, "a mapping"),
    "enabled": ({"objective": [{"name": "token_ce", "enabled": "no"}]}, "true or false"),
    "set twice": (
        {"stage2_ab": {"coord_decode_mode": "st"}, "stage2_ab.coord_decode_mode": "exp"},
        "set twice",
    ),
    "another variant": ({"custom": {"trainer_variant": ALIGNED}}, "the variant asked for"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_the_way_out(name):
    settings, message = REFUSED[name]
    with pytest.raises(DeclarationError) as caught:
        resolve_pipeline(settings, TWO)
    assert message in str(caught.value)


@pytest.mark.parametrize("variant", [None, "stage1", 3])
def test_a_variant_must_be_named_and_known(variant):
    with pytest.raises(DeclarationError, match="stage2_two_channel or stage2_rollout_aligned"):
        resolve_pipeline({"custom": {"trainer_variant": variant}})


def test_the_atoms_are_those_of_the_catalogue():
    assert len(ATOMS) == 25
    assert set(effective_weights(resolve_pipeline({}, TWO), 2)) == set(ATOMS)
    aligned = effective_weights(resolve_pipeline({}, ALIGNED))
    assert set(aligned) == {key for key in ATOMS if key.startswith("loss/B_")}
    assert len(aligned) == 12


def test_by_default_text_and_boxes_are_trained():
    assert active_atoms(resolve_pipeline({}, TWO), 2) == {
        "loss/A1_text/struct_ce", "loss/A1_text/desc_ce",
        "loss/B_rollout_text/struct_ce", "loss/B_rollout_text/desc_ce",
        "loss/A2_coord/bbox_smoothl1", "loss/A2_coord/bbox_ciou",
        "loss/B_coord/bbox_smoothl1", "loss/B_coord/bbox_ciou",
    }  # fmt: skip


TERMS = {
    "coord_ce_weight": "coord_token_ce", "soft_ce_weight": "coord_soft_ce", "w1_weight": "coord_w1",
    "el1_weight": "coord_el1", "ehuber_weight": "coord_ehuber", "entropy_weight": "coord_entropy",
    "coord_gate_weight": "coord_gate", "text_gate_weight": "text_gate",
}  # fmt: skip


@pytest.mark.parametrize(("term", "atom"), TERMS.items())
def test_a_term_weight_switches_its_atom_on_in_both_channels(term, atom):
    assert active(module("coord_reg", **{term: 0.1})) == {
        f"loss/A2_coord/{atom}",
        f"loss/B_coord/{atom}",
    }


def test_the_self_context_weight_of_soft_ce_is_for_channel_a_alone():
    assert active(module("coord_reg", self_context_soft_ce_weight=0.1)) == {
        "loss/A2_coord/coord_soft_ce"
    }
    both = module("coord_reg", self_context_soft_ce_weight=0.0, soft_ce_weight=1.0)
    assert active(both) == {"loss/B_coord/coord_soft_ce"}


def test_the_weight_of_missed_descriptions_overrides_that_of_descriptions():
    weights = effective_weights(
        pipeline(module("token_ce", 2, desc_ce_weight=0.5, rollout_fn_desc_weight=0)), 2
    )
    assert weights["loss/A1_text/desc_ce"] == 1.0
    assert weights["loss/B_rollout_text/desc_ce"] == 0.0
    assert "loss/B_rollout_text/desc_ce" in active(module("token_ce", desc_ce_weight=1))


def test_self_context_text_needs_its_weight_and_a_second_iteration():
    token_ce = module("token_ce", self_context_struct_ce_weight=0.1)
    key = "loss/A2_text/struct_ce"
    assert effective_weights(pipeline(token_ce), 2)[key] == 0.1
    assert effective_weights(pipeline(token_ce), 1)[key] == 0.0
    assert key not in active("token_ce", n=2)
    assert "loss/A2_coord/bbox_ciou" in active("bbox_geo", n=1)


@given(
    st.sampled_from(sorted(OBJECTIVE)),
    st.sampled_from([0, 0.0, 0.5, 2]),
    st.lists(st.sampled_from("AB"), unique=True),
    st.sampled_from(VARIANTS),
    st.data(),
)
def test_an_atom_weighs_module_times_term_and_nothing_where_the_channel_is_off(
    name, weight, channels, variant, data
):
    config = {term: data.draw(st.sampled_from([0.0, 0.25, 3.0])) for term in OBJECTIVE[name]}
    entry = {"name": name, "weight": weight, "channels": channels, "config": config}
    weights = effective_weights(pipeline(entry, variant=variant), 2)
    unit = effective_weights(pipeline({**entry, "weight": 1}, variant=variant), 2)
    for key, found in weights.items():
        assert found == weight * unit[key]
        channel = "A" if key.startswith("loss/A") else "B"
        if channel not in channels:
            assert found == 0
    assert active_atoms(pipeline(entry, variant=variant), 2) == {k for k, w in weights.items() if w}


def test_coordinate_diagnostics_by_forward():
    def forwards(*diagnostics, variant=TWO, n=2):
        return active_coord_diag(pipeline(variant=variant, diagnostics=diagnostics), n)

    assert forwards("coord_diag") == {"A1", "A2", "B"}
    assert forwards("coord_diag", n=1) == {"A1", "B"}
    assert forwards("coord_diag", variant=ALIGNED, n=None) == {"B"}
    assert forwards() == forwards(module("coord_diag", 0)) == frozenset()
    assert forwards({"name": "coord_diag", "channels": ["A"]}) == {"A1", "A2"}


@pytest.mark.parametrize("n", [None, 0, True, 1.0])
def test_two_channels_need_to_know_how_often_they_iterate(n):
    with pytest.raises(DeclarationError, match="n_softctx_iter"):
        effective_weights(resolve_pipeline({}, TWO), n)
    with pytest.raises(DeclarationError, match="n_softctx_iter"):
        active_coord_diag(resolve_pipeline({}, TWO), n)


def test_an_identity_made_by_hand_is_resolved_too():
    by_hand = PipelineIdentity(("bbox_geo",), extra={"variant": ALIGNED})
    assert active_atoms(by_hand) == {"loss/B_coord/bbox_smoothl1", "loss/B_coord/bbox_ciou"}
    with pytest.raises(DeclarationError, match="of variant None"):
        active_atoms(PipelineIdentity(("bbox_geo",)))


def test_box_losses_want_st_and_exp():
    good = {"stage2_ab.coord_ctx_embed_mode": "st", "stage2_ab.coord_decode_mode": "exp"}
    assert pipeline_advice(resolve_pipeline(good, TWO)) == ()
    assert len(pipeline_advice(resolve_pipeline({}, TWO))) == 1
    assert len(pipeline_advice(resolve_pipeline({"stage2_ab.coord_decode_mode": "st"}, TWO))) == 2
    assert pipeline_advice(pipeline("token_ce")) == ()
    assert pipeline_advice(pipeline(module("bbox_geo", 0))) == ()
    assert pipeline_advice(pipeline(module("bbox_geo", smoothl1_weight=0, ciou_weight=0))) == ()
    assert pipeline_advice(resolve_pipeline({}, ALIGNED)) == ()


def test_the_vocabulary_of_modules_is_closed():
    assert set(OBJECTIVE) == {"token_ce", "bbox_geo", "coord_reg"}
    assert set(DIAGNOSTICS) == {"coord_diag"}
    assert set(TERMS) | {"self_context_soft_ce_weight"} == set(OBJECTIVE["coord_reg"])
