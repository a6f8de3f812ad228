"""A line of the journal ends in the CRC32 of everything before it, so no damage reads as a number.

    {"seq":7,"mode":"train","global_step":7,"metrics":{"loss":1.25},"crc":"3a1f07c2"}

It is one line of JSON to every other tool. The first line of a file is a header that announces the
checksums, and the last one of a file that was closed is a footer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

__all__ = ["CHECKSUM", "announces_seals", "is_sealed", "salvage", "seal", "unseal"]

CHECKSUM = "crc32"
_SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
_SEAL_SIZE = len(b',"crc":"00000000"}')
_ANNOUNCED = b'"checksum":"crc32"'
_HEAD = b'{"header":'
_RECORD = b'{"seq":'


def seal(text: bytes) -> bytes:
    r"""The line of a JSON object: ``text`` with its checksum as the last member.

    >>> seal(b'{"seq":0}')
    b'{"seq":0,"crc":"fb6446ea"}\n'
    """
    body = text[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, crc32(body))


def is_sealed(line: bytes) -> bool:
    """Whether ``line`` ends in a checksum, be it the right one or not."""
    return _SEAL.fullmatch(line, max(0, len(line) - _SEAL_SIZE)) is not None


def unseal(line: bytes) -> bytes | None:
    """The JSON object in a sealed line without its newline; None if the checksum does not hold.

    >>> unseal(b'{"seq":0,"crc":"fb6446ea"}'), unseal(b'{"seq":1,"crc":"fb6446ea"}')
    (b'{"seq":0}', None)
    """
    body = line[:-_SEAL_SIZE]
    if not is_sealed(line) or b"%08x" % crc32(body) != line[-10:-2]:
        return None
    return body + b"}"


def salvage(line: bytes) -> Iterator[bytes]:
    """The whole records inside a damaged line, as a lost newline leaves them.

    >>> list(salvage(b'{"seq":0,"me#{"seq":0,"crc":"fb6446ea"}#{"seq":0,"crc":"fb6446ea"}'))
    [b'{"seq":0}', b'{"seq":0}']
    """
    after = 0
    for found in _SEAL.finditer(line):
        starts = {line.find(b'{"', after), line.rfind(_RECORD, after, found.start())}
        for start in sorted(starts - {-1}):
            text = unseal(line[start : found.end()])
            if text is not None:
                yield text
                break
        after = found.end()


def announces_seals(line: bytes) -> bool | None:
    """Whether ``line`` is a header of a file whose lines are sealed; None if it is no header."""
    return _ANNOUNCED in line[:64] if line.startswith(_HEAD) else None
