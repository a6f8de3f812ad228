"""A JSON catalogue in a file: size, encoding and JSON itself are checked before its content."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from ..catalogue import Catalogue
from ..errors import DeclarationError
from .loading import Doubled, from_data

__all__ = ["read_catalogue"]

MAX_BYTES = 16 * 2**20


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = Doubled(found)
    counted = Counter(name for name, _ in pairs)
    doubled.name = next(name for name, count in counted.items() if count > 1)
    return doubled


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue in a JSON file.

    Raises:
        DeclarationError: names the file and the place in it.
    """
    try:
        text = _text_of(path)
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise DeclarationError(f"{path}: nests too deep") from None
    except json.JSONDecodeError as error:
        raise DeclarationError(
            f"{path}:{error.lineno}: is no JSON: {error.msg} at column {error.colno}"
        ) from error
    except (OSError, ValueError) as error:
        raise DeclarationError(f"{path}: cannot be read as a catalogue: {error}") from error
    places = {
        key: (str(path), number)
        for number, line in enumerate(text.splitlines(), 1)
        for key in re.findall(r'"key"\s*:\s*"([^"\\]*)"', line)
    }
    try:
        return from_data(data, places)
    except DeclarationError as error:
        raise DeclarationError(f"{path}: {error}") from error


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise ValueError("there is no such file")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    return raw.decode("utf-8-sig")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
