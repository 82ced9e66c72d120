"""An UpsertPoints written as the bytes it has on the wire.

Building it from messages costs twice the CPU: every point would be some ten objects, copied once more to be sent. Tags
and numbers of fields are taken from Qdrant's own classes.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from memq_qdrant import grpc
from memq_schemas.points import VERSION_KEY, Mode
from memq_worker.pipeline.store import Id, PointsBatch, RowsCell, SparseCell
from memq_worker.qdrant.encode import newer_only, not_newer
from memq_worker.qdrant.protobuf import VARINTS, field, tag
from memq_worker.qdrant.values import to_values
from memq_worker.qdrant.vectors import vectors_of

_POINT = tag(grpc.UpsertPoints(points=[grpc.PointStruct()]))
_FILTER = tag(grpc.UpsertPoints(update_filter=grpc.Filter()))
_ID = tag(grpc.PointStruct(id=grpc.PointId()))
_NUMBER = tag(grpc.PointId(num=0))
_UUID = grpc.PointStruct(id=grpc.PointId(uuid=" " * 36)).SerializeToString()[:-36]
_ENTRY = grpc.PointStruct(payload={"": grpc.Value()}).SerializeToString()[:1]
_VECTORS = tag(grpc.PointStruct(vectors=grpc.Vectors()))
_TEXT, _INTEGER = tag(grpc.Value(string_value="")), tag(grpc.Value(integer_value=0))
_DOUBLE = grpc.Value(double_value=0.0).SerializeToString()[:1]
_CONSTANTS: dict[Any, bytes] = {
    True: grpc.Value(bool_value=True).SerializeToString(),
    False: grpc.Value(bool_value=False).SerializeToString(),
    None: grpc.Value(null_value=grpc.NULL_VALUE).SerializeToString(),
}
_double = struct.Struct("<d").pack
_SHORT = 256  # bytes of a text whose entry's beginning is kept


_MODES: dict[Mode, Any] = {
    "upsert": None,
    "insert_only": grpc.UpdateMode.InsertOnly,
    "update_only": grpc.UpdateMode.UpdateOnly,
}
_CHANGED = tag(grpc.UpdatePointVectors(points=[grpc.PointVectors()]))
_CHANGED_VECTORS = tag(grpc.PointVectors(vectors=grpc.Vectors()))
_CHANGES_FILTER = tag(grpc.UpdatePointVectors(update_filter=grpc.Filter()))
_NOT_DENSE = frozenset({SparseCell, RowsCell, type(None)})


def vectors_request(collection: str, points: PointsBatch) -> bytes:
    """An UpdatePointVectors with `wait`, under the condition that no stored point has a higher version than these."""
    pieces = [grpc.UpdatePointVectors(collection_name=collection, wait=True).SerializeToString()]
    # A point's id has the same number in both messages.
    for point, vectors in zip(points.ids, vectors_of(points, _CHANGED_VECTORS), strict=True):
        pieces.append(field(_CHANGED, _id(point) + vectors))
    if points.versions is not None:
        pieces.append(field(_CHANGES_FILTER, not_newer(points.ids, points.versions)))
    return b"".join(pieces)


def upsert_request(collection: str, points: PointsBatch) -> bytes:
    """An UpsertPoints with `wait`, under the condition that stored points are older where these have versions."""
    head = grpc.UpsertPoints(collection_name=collection, wait=True, update_mode=_MODES[points.mode])
    pieces: list[bytes | memoryview] = [head.SerializeToString()]
    rows = _dense_column(points)
    vectors = vectors_of(points, _VECTORS) if rows is None else []
    for index, (point, payload) in enumerate(zip(points.ids, points.payloads, strict=True)):
        fields = _id(point) + (_payload(payload) if payload else b"")
        if points.versions is not None and (version := points.versions[index]) is not None:
            fields += _payload({VERSION_KEY: version})
        if rows is None:
            content = vectors[index]
        else:
            content = rows[index]
            fields += _unnamed(len(content))
        pieces += (_POINT, VARINTS[len(fields) + len(content)], fields, content)
    if points.versions is not None and points.mode != "insert_only":
        pieces.append(field(_FILTER, newer_only(points.ids, points.versions)))
    return b"".join(pieces)


def _dense_column(points: PointsBatch) -> list[bytes | memoryview] | None:
    """The unnamed vectors, if every point has a dense one and no other."""
    column = points.columns.get("") if len(points.columns) == 1 else None
    if column is None or not _NOT_DENSE.isdisjoint(map(type, column)):
        return None
    return cast("list[bytes | memoryview]", column)


def _id(point: Id) -> bytes:
    if isinstance(point, int):
        number = VARINTS[point]
        return _ID + VARINTS[len(_NUMBER) + len(number)] + _NUMBER + number
    return _UUID + point.encode()


@lru_cache(maxsize=64)
def _unnamed(size: int) -> bytes:
    """All of a point's vectors but the `size` bytes of their numbers, which are the last."""
    vector = grpc.Vector(dense=grpc.DenseVector(data=[0.0] * (size // 4)))
    return grpc.PointStruct(vectors=grpc.Vectors(vector=vector)).SerializeToString()[:-size]


def _payload(payload: dict[str, Any]) -> bytes:
    pieces: list[bytes] = []
    for (key, entry), value in zip(_entries(tuple(payload)), payload.values(), strict=True):
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            text = value.encode()
            pieces += (entry.texts[len(text)], text)
        elif kind is int:
            number = VARINTS[value]
            pieces += (entry.numbers[len(number)], number)
        elif kind is bool or value is None:
            pieces.append(entry.constants[value])
        elif kind is float:
            pieces += (entry.double, _double(value))
        else:
            pieces.append(grpc.PointStruct(payload=to_values({key: value})).SerializeToString())
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
        head = entry(key=key).SerializeToString() + tag(entry(value=grpc.Value()))
        self.texts = _Beginnings(head, lambda size: _TEXT + VARINTS[size])
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
    length = VARINTS[len(before) + size]
    return _ENTRY + VARINTS[len(head) + len(length) + len(before) + size] + head + length + before
