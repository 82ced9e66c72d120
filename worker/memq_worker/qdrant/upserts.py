"""An UpsertPoints written as the bytes it has on the wire.

Building it from messages costs twice the CPU: every point would be some ten objects, copied once more to be sent. Tags
and numbers of fields are taken from Qdrant's own classes. https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from qdrant_client import grpc
from qdrant_client.conversions.conversion import payload_to_grpc

from memq_schemas.points import VERSION_KEY
from memq_worker.pipeline.store import Id, PointsBatch
from memq_worker.qdrant.encode import newer_only


def _varint(number: int) -> bytes:
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
        return _varint(number)


_VARINTS = _Varints((number, _varint(number)) for number in range(2**14))


def _tag(message: Any) -> bytes:
    """Tag of the one field that is set, empty or 0."""
    return message.SerializeToString()[:-1]


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _VARINTS[len(content)] + content


_POINT = _tag(grpc.UpsertPoints(points=[grpc.PointStruct()]))
_FILTER = _tag(grpc.UpsertPoints(update_filter=grpc.Filter()))
_ID = _tag(grpc.PointStruct(id=grpc.PointId()))
_NUMBER = _tag(grpc.PointId(num=0))
_UUID = grpc.PointStruct(id=grpc.PointId(uuid=" " * 36)).SerializeToString()[:-36]
_ENTRY = grpc.PointStruct(payload={"": grpc.Value()}).SerializeToString()[:1]
_VECTORS = _tag(grpc.PointStruct(vectors=grpc.Vectors()))
_NAMED = _tag(grpc.Vectors(vectors=grpc.NamedVectors()))
_TEXT, _INTEGER = _tag(grpc.Value(string_value="")), _tag(grpc.Value(integer_value=0))
_DOUBLE = grpc.Value(double_value=0.0).SerializeToString()[:1]
_CONSTANTS: dict[Any, bytes] = {
    True: grpc.Value(bool_value=True).SerializeToString(),
    False: grpc.Value(bool_value=False).SerializeToString(),
    None: grpc.Value(null_value=grpc.NULL_VALUE).SerializeToString(),
}
_double = struct.Struct("<d").pack
_SHORT = 256  # bytes of a text whose entry's beginning is kept


def upsert_request(collection: str, points: PointsBatch) -> bytes:
    """An UpsertPoints with `wait`, under the condition that stored points are older where these have versions."""
    pieces: list[bytes | memoryview] = [grpc.UpsertPoints(collection_name=collection, wait=True).SerializeToString()]
    rows = points.columns.get("") if len(points.columns) == 1 else None
    for index, (point, payload) in enumerate(zip(points.ids, points.payloads, strict=True)):
        fields = _id(point) + (_payload(payload) if payload else b"")
        if points.versions is not None and (version := points.versions[index]) is not None:
            fields += _payload({VERSION_KEY: version})
        row = None if rows is None else rows[index]
        if row is None:
            vectors = _named(points, index)
            pieces += (_POINT, _VARINTS[len(fields) + len(vectors)], fields, vectors)
        else:
            fields += _unnamed(len(row))
            pieces += (_POINT, _VARINTS[len(fields) + len(row)], fields, row)
    if points.versions is not None:
        pieces.append(_field(_FILTER, newer_only(points.ids, points.versions)))
    return b"".join(pieces)


def _id(point: Id) -> bytes:
    return _field(_ID, _NUMBER + _VARINTS[point]) if isinstance(point, int) else _UUID + point.encode()


@lru_cache(maxsize=64)
def _unnamed(size: int) -> bytes:
    """All of a point's vectors but the `size` bytes of their numbers, which are the last."""
    vector = grpc.Vector(dense=grpc.DenseVector(data=[0.0] * (size // 4)))
    return grpc.PointStruct(vectors=grpc.Vectors(vector=vector)).SerializeToString()[:-size]


def _named(points: PointsBatch, index: int) -> bytes:
    vectors: list[bytes | memoryview] = []
    for name, column in points.columns.items():
        row = column[index]
        if row is not None:
            if not name:
                return _unnamed(len(row)) + row
            vectors += (_named_prefix(name, len(row)), row)
    return _field(_VECTORS, _field(_NAMED, b"".join(vectors)))


@lru_cache(maxsize=256)
def _named_prefix(name: str, size: int) -> bytes:
    vector = grpc.Vector(dense=grpc.DenseVector(data=[0.0] * (size // 4)))
    return grpc.NamedVectors(vectors={name: vector}).SerializeToString()[:-size]


def _payload(payload: dict[str, Any]) -> bytes:
    pieces: list[bytes] = []
    for (key, entry), value in zip(_entries(tuple(payload)), payload.values(), strict=True):
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            text = value.encode()
            pieces += (entry.texts[len(text)], text)
        elif kind is int:
            number = _VARINTS[value]
            pieces += (entry.numbers[len(number)], number)
        elif kind is bool or value is None:
            pieces.append(entry.constants[value])
        elif kind is float:
            pieces += (entry.double, _double(value))
        else:
            pieces.append(grpc.PointStruct(payload=payload_to_grpc({key: value})).SerializeToString())
    return b"".join(pieces)


@lru_cache(maxsize=256)
def _entries(keys: tuple[str, ...]) -> list[tuple[str, "_Entry"]]:
    """Payloads of one kind have the same keys."""
    return [(key, _entry(key)) for key in keys]


class _Entry:
    """Prefixes of a payload entry of this key, by kind and size of its value."""

    __slots__ = ("constants", "double", "numbers", "texts")

    def __init__(self, key: str) -> None:
        entry = grpc.PointStruct.PayloadEntry
        head = entry(key=key).SerializeToString() + _tag(entry(value=grpc.Value()))
        self.texts = _Beginnings(head, lambda size: _TEXT + _VARINTS[size])
        self.numbers = _Beginnings(head, lambda _: _INTEGER)
        self.double = _beginning(head, _DOUBLE, 8)
        self.constants = {value: _beginning(head, plain, 0) for value, plain in _CONSTANTS.items()}


class _Beginnings(dict[int, bytes]):
    """Prefixes by size of the value, built on first use: in some payloads most keys occur once."""

    def __init__(self, head: bytes, before: Callable[[int], bytes]) -> None:
        super().__init__()
        self._head = head
        self._before = before

    def __missing__(self, size: int) -> bytes:
        beginning = _beginning(self._head, self._before(size), size)
        if size < _SHORT:
            self[size] = beginning
        return beginning


_entry = lru_cache(maxsize=1024)(_Entry)


def _beginning(head: bytes, before: bytes, size: int) -> bytes:
    """An entry up to the last `size` bytes of its value, which `before` begins."""
    length = _VARINTS[len(before) + size]
    return _ENTRY + _VARINTS[len(head) + len(length) + len(before) + size] + head + length + before
