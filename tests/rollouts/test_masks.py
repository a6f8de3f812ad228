"""Which tokens carry which loss is one table, and the masks are that table."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics import ObservationError
from coordexp_metrics.rollouts import Span, build_masks
from coordexp_metrics.rollouts.masks import TRUTH_TABLE, truth_table
from coordexp_metrics.token_types import COORD, DESC, FORMAT, IGNORE

DOCS = Path(__file__).parents[2] / "docs" / "rollouts.md"
tokens = st.lists(st.tuples(st.sampled_from([IGNORE, DESC, COORD, FORMAT]), st.sampled_from(Span)))

# metrics_and_losses.md line by line: span, (struct CE, desc CE, coord CE, coord_reg, geometry)
REFERENCE = {
    95: (Span.GT_ANCHOR, (1, 1, 0, 0, 0)),  # "full CE on JSON structure + desc", coords from A2
    96: (Span.SELF_CONTEXT, (1, 0, 0, 1, 1)),  # "struct + <|im_end|> only"; 101-105
    84: (Span.ALIGNED_PREFIX, (0, 0, 0, 1, 1)),  # "coord-token supervision only"
    85: (Span.ALIGNED_TAIL, (1, 1, 0, 1, 1)),  # "normal CE on JSON structure ... desc by default"
    122: (Span.MATCHED_PREFIX, (1, 0, 0, 1, 1)),  # "structure CE ON, desc/coord CE OFF"
    123: (Span.FP_PREFIX, (0, 0, 0, 0, 0)),  # "structure/desc/coord CE OFF", "FP geometry OFF"
    124: (Span.FN_INJECTED, (1, 1, 0, 1, 1)),  # "structure+desc CE ON, coord CE OFF"
    281: (Span.CLOSURE, (1, 0, 0, 0, 0)),  # "} / <|im_end|>"
}


@pytest.mark.parametrize(("line", "row"), REFERENCE.items())
def test_the_table_is_the_reference_line_by_line(line, row):
    span, losses = row
    assert TRUTH_TABLE[span][2:7] == tuple(map(bool, losses))


def test_every_span_has_a_row_and_a_span_of_nothing_carries_nothing():
    assert set(TRUTH_TABLE) == set(Span) == {span for span, _ in REFERENCE.values()} | {Span.NONE}
    assert not any(TRUTH_TABLE[Span.NONE][2:7])


@pytest.mark.parametrize("span", Span)
def test_cross_entropy_of_text_never_reads_a_coordinate(span):
    masks = build_masks([COORD], [span])
    assert not TRUTH_TABLE[span].coord_ce
    assert not (masks.struct_ce | masks.desc_ce).any()


@pytest.mark.parametrize("span", Span)
def test_the_masks_of_a_span_are_its_row(span):
    masks = build_masks([FORMAT, DESC, COORD, IGNORE], [span] * 4)
    row = TRUTH_TABLE[span]
    assert masks.struct_ce.tolist() == [row.struct_ce, False, False, False]
    assert masks.desc_ce.tolist() == [False, row.desc_ce, False, False]
    assert masks.coord.tolist() == [False, False, row.coord, False]
    assert masks.geometry.tolist() == [False, False, row.geometry, False]


@given(tokens)
def test_masks_are_of_one_token_each_and_geometry_is_of_coordinates(found):
    types, spans = [t for t, _ in found], [s for _, s in found]
    masks = build_masks(types, spans)
    assert not (masks.struct_ce & masks.desc_ce).any()
    assert not ((masks.struct_ce | masks.desc_ce) & (masks.coord | masks.geometry)).any()
    assert (masks.geometry <= masks.coord).all()
    silent = np.isin(spans, [Span.NONE, Span.FP_PREFIX]) | (np.array(types) == IGNORE)
    for mask in (masks.struct_ce, masks.desc_ce, masks.coord, masks.geometry):
        assert mask.dtype == bool
        assert not (mask & silent).any()


@given(tokens)
def test_a_mask_is_built_token_by_token(found):
    masks = build_masks([t for t, _ in found], [s for _, s in found])
    for at, (kind, span) in enumerate(found):
        alone = build_masks([[kind]], [[span]])
        for name in ("struct_ce", "desc_ce", "coord", "geometry"):
            assert getattr(masks, name)[at] == getattr(alone, name)[0, 0]


def test_tensors_and_empty_rows_are_taken():
    torch = pytest.importorskip("torch")
    types = torch.tensor([[FORMAT, COORD]], dtype=torch.int8)
    assert build_masks(types, torch.full((1, 2), 5)).struct_ce.tolist() == [[True, False]]
    assert build_masks([], []).coord.shape == (0,)


@pytest.mark.parametrize(
    ("types", "spans", "message"),
    [
        ([1, 2], [1], "spans"),
        ([1, 7], [1, 1], "token_types must hold -1, 1, 2, 3 only; got 7"),
        ([1], [9], "spans must hold"),
        ([1], [-1], "spans must hold"),
        ([1.0], [1], "token_types must be integers"),
    ],
)
def test_what_has_no_row_is_refused(types, spans, message):
    with pytest.raises(ObservationError, match=message):
        build_masks(types, spans)


def test_the_documentation_shows_the_table():
    assert truth_table() in DOCS.read_text()
