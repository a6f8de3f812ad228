"""Event files made by hand, byte by byte, for what no real writer would write."""

import struct

from coordexp_metrics.contract.crc32c import crc32c, masked


def frame(body, *, length=None, length_crc=None, body_crc=None):
    """One record, with any part of its frame replaced."""
    head = struct.pack("<Q", len(body) if length is None else length)
    head += struct.pack("<I", masked(crc32c(head)) if length_crc is None else length_crc)
    return head + body + struct.pack("<I", masked(crc32c(body)) if body_crc is None else body_crc)


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field: an int, a float as a double, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def float_field(number, value):
    return varint(number << 3 | 5) + struct.pack("<f", value)


def value(tag, *, simple=None, tensor=None, plugin=None):
    data = field(1, tag.encode())
    data += b"" if simple is None else float_field(2, simple)
    data += b"" if tensor is None else field(8, tensor)
    data += b"" if plugin is None else field(9, field(1, field(1, plugin.encode())))
    return data


def event(step, *values, time=1.5):
    summary = b"".join(field(1, one) for one in values)
    return field(1, time) + field(2, step) + field(5, summary)


def tensor(dtype, *, sizes=(), content=None, listed=b""):
    shape = b"".join(field(2, field(1, size)) for size in sizes)
    data = field(1, dtype) + field(2, shape) + listed
    return data + (b"" if content is None else field(4, content))


OPENING = frame(field(1, 1.5) + field(3, b"brain.Event:2"))


def scalars(steps, tag="loss"):
    """A file with one scalar a step."""
    return OPENING + b"".join(
        frame(event(step, value(tag, simple=step + 0.5))) for step in range(1, steps + 1)
    )
