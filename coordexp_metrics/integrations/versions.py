"""A library outside the supported range is named with that range, before a run begins."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from ..contract.errors import MetricsError, MissingExtraError

__all__ = ["Supported", "require"]

_LOG = logging.getLogger("coordexp_metrics")


class Supported(NamedTuple):
    """The versions of a library that were tested: from ``least`` to below ``beyond``."""

    package: str
    least: str
    beyond: str
    extra: str

    def __str__(self) -> str:
        return f"{self.package}>={self.least},<{self.beyond}"


def require(supported: Supported) -> None:
    """Refuse a version that is too old, and say once that one is newer than what was tested.

    Raises:
        MissingExtraError: the library is not installed.
        MetricsError: it is too old.

    >>> try:
    ...     require(Supported("pydantic", "1000", "1001", "torch"))
    ... except MetricsError as error:
    ...     print(str(error).partition(" is ")[2])
    too old; install pydantic>=1000,<1001
    """
    try:
        found = version(supported.package)
    except PackageNotFoundError as error:
        raise MissingExtraError(
            supported.extra, f"the integration of {supported.package}"
        ) from error
    if _parts(found) < _parts(supported.least):
        raise MetricsError(f"{supported.package} {found} is too old; install {supported}")
    if _parts(found) >= _parts(supported.beyond):
        _say_once(f"{supported.package} {found} is newer than tested: {supported}")


@cache
def _say_once(text: str) -> None:
    with suppress(Exception):
        _LOG.warning("%s", text)


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
