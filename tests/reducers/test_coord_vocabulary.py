"""Every bin has one token id; what cannot be right is refused and named."""

import pytest
import torch

from coordexp_metrics import CATALOGUE, DeclarationError
from coordexp_metrics.reducers import LogitsReducer, coord_token_ids_from
from coordexp_metrics.reducers.coord_vocabulary import CoordVocabulary
from coordexp_metrics.window import Window


class Tokenizer:
    """As much of a Hugging Face tokenizer as is read."""

    def __init__(self, known, unknown=0):
        self._known = known
        self.unk_token_id = unknown

    def convert_tokens_to_ids(self, tokens):
        return [self._known.get(token, self.unk_token_id) for token in tokens]


def spelled(count, start=500):
    return {f"<|coord_{k}|>": start + k for k in range(count)}


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([], "is empty"),
        (range(0), "is empty"),
        ([3, 4, 3], "3 stand for several bins"),
        ([4, -7], "-7 are negative"),
        ([1.5], "1.5 are no whole numbers"),
        ([True, 2], "True are no whole numbers"),
        (["3"], "3 are no whole numbers"),
    ],
)
def test_T06_ids_that_cannot_be_right(ids, says):
    with pytest.raises(DeclarationError, match=says):
        LogitsReducer(ids)


def test_T06_ids_beyond_the_logits_are_refused_when_they_are_seen():
    window = Window(CATALOGUE, group="local")
    with pytest.raises(DeclarationError, match="9, 10 lie outside"):
        LogitsReducer([2, 10, 9]).observe(window, torch.zeros(1, 2, 9), torch.zeros(1, 2).long())


def test_T06_a_tokenizer_without_some_tokens_is_refused():
    known = spelled(1000)
    del known["<|coord_999|>"]
    for unknown in (0, None):
        with pytest.raises(DeclarationError, match=r"<\|coord_999\|>"):
            coord_token_ids_from(Tokenizer(known, unknown))


def test_T06_tokens_that_share_an_id_are_refused():
    known = spelled(1000) | {"<|coord_7|>": 503}
    with pytest.raises(DeclarationError, match=r"<\|coord_3\|>, <\|coord_7\|> share"):
        coord_token_ids_from(Tokenizer(known))


def test_ids_come_in_the_order_of_the_bins():
    known = {f"<|coord_{k}|>": 5000 - k for k in range(1000)}
    assert coord_token_ids_from(Tokenizer(known)) == [5000 - k for k in range(1000)]


@pytest.mark.parametrize("ids", [[4, 5, 6], [6, 4, 5], [9, 2, 40]])
def test_tokens_and_bins_are_two_names_of_one_thing(ids):
    vocabulary = CoordVocabulary(torch.tensor(ids))
    tokens = torch.arange(50)
    expected = [ids.index(token) if token in ids else -1 for token in range(50)]
    assert vocabulary.bins_of(tokens).tolist() == expected
    logits = torch.rand(3, 50)
    assert torch.equal(vocabulary.take(logits, torch.tensor([2, 0])), logits[[2, 0]][:, ids])
    for offset in (0, 5, 30):
        part = logits[:, offset : offset + 12].clone()
        vocabulary.forget(part, offset)
        gone = [i for i in ids if offset <= i < offset + 12]
        assert (part == 0).sum() == 3 * len(gone)
        assert all((part[:, i - offset] == 0).all() for i in gone)
