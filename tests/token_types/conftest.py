"""Real tokenizers, each built once a session."""

import pytest

from coordexp_metrics.token_types import qwen_tokenizer

from . import tokenizers_of_ours


@pytest.fixture(scope="session")
def qwen():
    return qwen_tokenizer()


@pytest.fixture(scope="session")
def byte_level():
    return tokenizers_of_ours.byte_level()


@pytest.fixture(scope="session")
def sentencepiece():
    return tokenizers_of_ours.sentencepiece()


@pytest.fixture(scope="session", params=["qwen", "byte_level", "sentencepiece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)
