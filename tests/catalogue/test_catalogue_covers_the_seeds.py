"""Every key that the seed documents name is declared, or gone with a reason."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
import seed_documents as seeds

from coordexp_metrics.catalogue import CATALOGUE
from coordexp_metrics.contract.errors import RemovedKeyError
from coordexp_metrics.contract.metric import Metric

pytestmark = pytest.mark.skipif(
    not seeds.present(), reason=f"the seed documents are not at {seeds.SEEDS}"
)

DOCUMENTS = (seeds.KEY_REFERENCE, seeds.TYPES_DESIGN)

# Configuration, payload fields, code and text that stand in backticks but are no metric keys.
CONFIGURATION = re.compile(
    r"(custom|training|rollout_matching|stage2_ab|token_ce|coord_reg|decoding)\.[\w.]+.*"
    r"|(include|exclude): .*|decode_mode.*|gradient_accumulation_steps.*|n_softctx_iter > 1"
    r"|(ce|gate)_weight != 0|it==.*|logits_a1|lm_head\.weight|labels\[.*"
)
NO_METRICS = {
    *("schema_version", "1", "mode", "train|eval", "global_step", "metrics", "eval_"),
    *("pipeline_checksum", "objective", "diagnostics", "extra", "variant", "config", "run_name"),
    *("seed", "L_geo", "Trainer.log()", "MeanMetric", "STAGE2_RUNBOOK.md", "lvis"),
    *("desc", '"desc"', "struct", "<|im_end|>", '{"objects": [', "}", "]", ":"),
    *("desc_ce_weight", "rollout_fn_desc_weight", "maskiou_gate", "reordered_gt_sft"),
    *("coord_diag", "0.0", "1.0", "-100", "p(k)", "t", "E_p[|k - t|]", "abs(E[k] - t)"),
    *("exp(-gate)", "(max_logit - gt_logit)", "abs(expected_bin - gt_bin)"),
    "gate = -log(sum_{i in coord_vocab} softmax(full_logits / T)[i])",
    # Parts of names, and suffixes of the naming contract that no documented key has.
    *("geo", "coord_reg", "*_sum", "*_num", "*_den"),
}
# Short forms inside formulas.
SHORT = {
    "valid_pred_objects": "rollout/valid_pred_objects_total",
    "dropped_invalid": "rollout/parse_dropped_invalid",
    "dropped_ambiguous": "rollout/parse_dropped_ambiguous",
    "softCE": "coord_diag/soft_ce",
    "W1": "coord_diag/w1",
    "CE": "coord_diag/ce",
}
PARAMETERS = {"soft_ce_weight", "w1_weight", "ce_weight", "gate_weight", "N"}
FORMULA = re.compile(r" [=+*/>-] | == |=[01]$")
WORD = re.compile(r"[A-Za-z_]\w*(?:/\w+)*")


def is_known(key: str) -> bool:
    if key in CATALOGUE or CATALOGUE.is_suppressed(key, "eval"):
        return True
    if isinstance(CATALOGUE.unknown(key), RemovedKeyError):
        return True
    pattern = seeds.wildcard(key)
    patterns = [entry.pattern for entry in (*CATALOGUE.removed, *CATALOGUE.suppressed)]
    if "*" not in pattern:
        return any(name.endswith(f"/{key}") for name in CATALOGUE)
    return any(fnmatchcase(name, pattern) for name in (*CATALOGUE, *aliases(), *patterns))


def aliases() -> list[str]:
    return [
        alias
        for metric in CATALOGUE.values()
        for alias in (metric.eval_key, *metric.aliases, *metric.logged_aliases)
    ]


def names_in(span: str) -> list[str]:
    """The keys of a span: a formula's inputs, or what its braces and bars stand for."""
    if FORMULA.search(span):
        words = set(WORD.findall(span)) - PARAMETERS
        return [SHORT.get(word, word) for word in sorted(words)]
    return [key if key != "obj/" else "obj/*" for key in seeds.expand(span)]


def unresolved(document: str) -> list[str]:
    return [
        f"{document}:{line}: {span!r} names {key!r}"
        for line, span in seeds.spans(document)
        if span not in NO_METRICS and not CONFIGURATION.fullmatch(span)
        for key in names_in(span)
        if not is_known(key)
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_key_in_backticks_is_accounted_for(document: str) -> None:
    """Declared, an alias, removed or suppressed; whatever else is listed above by name."""
    assert unresolved(document) == []


def test_all_spans_are_read() -> None:
    assert [len(list(seeds.spans(document))) for document in DOCUMENTS] == [339, 5]


def test_nothing_is_listed_as_no_metric_in_vain() -> None:
    """An exception that no document needs would hide the next key of that name."""
    written = {span for document in DOCUMENTS for _, span in seeds.spans(document)}
    assert NO_METRICS - written == set()


@pytest.mark.parametrize(
    ("span", "keys"),
    [
        ("loss/A1_text/{struct_ce,desc_ce}", ["loss/A1_text/struct_ce", "loss/A1_text/desc_ce"]),
        ("rollout/prompt_len_mean|p90", ["rollout/prompt_len_mean", "rollout/prompt_len_p90"]),
        (
            "{desc,coord}_token_acc|entropy|token_count",
            [
                *("desc_token_acc", "coord_token_acc", "desc_entropy", "coord_entropy"),
                *("desc_token_count", "coord_token_count"),
            ],
        ),
    ],
)
def test_short_spellings_expand(span: str, keys: list[str]) -> None:
    assert seeds.expand(span) == keys


def documented() -> list[Metric]:
    return [metric for metric in CATALOGUE.values() if metric.source and not metric.internal]


@pytest.mark.parametrize("metric", documented(), ids=str)
def test_a_source_is_a_line_that_names_the_metric(metric: Metric) -> None:
    found = [
        pattern
        for document, line in seeds.cited(metric.source)
        for pattern in seeds.mentioned(document, line)
    ]
    assert seeds.matches(metric.key, found) or seeds.matches(metric.eval_key, found), found


@pytest.mark.parametrize("metric", documented(), ids=str)
def test_every_cited_line_names_a_metric_of_the_family(metric: Metric) -> None:
    """A family over passes cites one line for each pass, and no line too many."""
    family = [other for other in CATALOGUE.values() if other.family == metric.family]
    names = {name for other in family for name in (other.key, other.eval_key)}
    for document, line in seeds.cited(metric.source):
        found = seeds.mentioned(document, line)
        assert any(seeds.matches(name, found) for name in names), (document, line)
