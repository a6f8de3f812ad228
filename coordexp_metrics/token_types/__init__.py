"""Floor 2: from the assistant's payload to the type of each label, aligned, packed and collated.

>>> from coordexp_metrics.token_types import COORD, DESC, FORMAT, IGNORE
>>> IGNORE, DESC, COORD, FORMAT
(-1, 1, 2, 3)
"""

from .codes import COORD, DESC, FORMAT, IGNORE
from .collator import BatchExtras, TokenTypeCollator, pop_batch_extras
from .compute import Misalignment, TokenTyping, compute_token_types
from .config import TokenTypeConfig
from .coordjson import TypedText, read_coordjson, write_coordjson
from .packing import pack_token_types
from .qwen import qwen_tokenizer
from .view import TypedToken, typed_tokens

__all__ = [
    "BatchExtras",
    "COORD",
    "DESC",
    "FORMAT",
    "IGNORE",
    "Misalignment",
    "TokenTypeCollator",
    "TokenTypeConfig",
    "TokenTyping",
    "TypedText",
    "TypedToken",
    "compute_token_types",
    "pack_token_types",
    "pop_batch_extras",
    "qwen_tokenizer",
    "read_coordjson",
    "typed_tokens",
    "write_coordjson",
]
