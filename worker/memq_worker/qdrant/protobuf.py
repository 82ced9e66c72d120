"""Pieces of encoded protobuf messages. https://protobuf.dev/programming-guides/encoding/"""

from typing import Any


def varint(number: int) -> bytes:
    """Encode a protobuf varint; a negative number as its 64 bits."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """Table of small varints: a look-up costs a tenth of encoding."""

    def __missing__(self, number: int) -> bytes:
        if _TABLED <= number < 2**21:
            return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
        return varint(number)


_TABLED = 2**14
VARINTS = _Varints((number, varint(number)) for number in range(_TABLED))


def tag(message: Any) -> bytes:
    """Tag of the one field that is set, empty or 0."""
    return message.SerializeToString()[:-1]


def field(tag: bytes, content: bytes) -> bytes:
    return tag + VARINTS[len(content)] + content
