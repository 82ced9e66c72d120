"""Points to JSON, one call at a time, without models on the way: errors name the point and the field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from uuid import UUID

import numpy as np
import orjson

from memq.encode.vectors import VectorJson
from memq.errors import InvalidPoint
from memq_schemas import Point, headers
from memq_schemas.ids import MAX_ID, canonical_uuid
from memq_schemas.json_values import is_plain, json_object
from memq_schemas.points import MAX_VERSION, VERSION_KEY

INTEGERS: tuple[type[int], type[Any]] = (int, np.integer)
FIELDS = frozenset({"id", "vector", "payload", "version"})

# Naive times are read as UTC, as Qdrant reads them; RFC 3339 wants the offset written.
PAYLOAD_OPTIONS = orjson.OPT_NAIVE_UTC

_DERIVE = "memq.point_id makes a UUID of any key"
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


@dataclass(frozen=True, slots=True)
class EncodedPoints:
    """Points that are checked, each as JSON."""

    points: Iterator[bytes]


class PointJson:
    """One call's points. Remembers the dimensions of its first vector and refuses others."""

    def __init__(self) -> None:
        self.vectors = VectorJson()

    def row(self, index: int, row: object) -> bytes:
        """One point: a dict, a Point or a tuple (id, vector[, payload[, version]]). Raises InvalidPoint."""
        id_, vector, payload, version = _fields(index, row)
        try:
            vector = self.vectors(vector)
        except ValueError as error:
            raise InvalidPoint(index, "vector", str(error)) from None
        return point_json(index, id_, vector, payload, version)


class VectorsJson(PointJson):
    """One call's new vectors of stored points, which have no payloads."""

    def row(self, index: int, row: object) -> bytes:
        if _fields(index, row)[2] is not None:
            raise InvalidPoint(index, "payload", "only vectors change here; set_payload changes payloads")
        return super().row(index, row)


def point_json(index: int, id_: object, vector: bytes, payload: object, version: object) -> bytes:
    """One point from its fields, the vector as JSON already. Raises InvalidPoint."""
    field = "id"
    try:
        id_text = id_json(id_)
        field = "payload"
        tail = b"" if payload is None else b',"payload":' + payload_json(payload)
        field = "version"
        if version is not None:
            tail += b',"version":' + _version_json(version)
    except ValueError as error:
        raise InvalidPoint(index, field, str(error).removeprefix("id: ")) from None
    return b'{"id":%b,"vector":%b%b}' % (id_text, vector, tail)


def _fields(index: int, row: object) -> tuple[Any, Any, Any, Any]:
    # Almost always a dict, or a tuple from a file, and asking an abstract class costs ten times as much.
    known: Any = row
    if type(known) is tuple and len(known) == 4:  # pyright: ignore[reportUnknownArgumentType]
        return known  # pyright: ignore[reportUnknownVariableType]
    if type(row) is dict or isinstance(row, Mapping):
        mapping = cast("Mapping[str, Any]", row)
        known = (mapping.get("id"), mapping.get("vector"), mapping.get("payload"), mapping.get("version"))
        if not FIELDS.issuperset(mapping):
            unknown = next(name for name in mapping if name not in FIELDS)
            raise InvalidPoint(index, None, f"unknown field {unknown!r}; put other values into payload")
        return known
    if isinstance(row, Point):
        return row.id, row.vector, row.payload, row.version
    if isinstance(row, Sequence) and not isinstance(row, (str, bytes)):
        values = cast("Sequence[Any]", row)
        if 2 <= len(values) <= 4:
            return (*values, *(None,) * (4 - len(values)))  # pyright: ignore[reportReturnType]
    point = cast("Any", row)
    if hasattr(point, "id") and hasattr(point, "vector"):  # qdrant_client's PointStruct
        return point.id, point.vector, getattr(point, "payload", None), None
    kind = type(cast("object", row)).__name__
    raise InvalidPoint(index, None, f"expected a dict, a Point or (id, vector[, payload]), this is {kind}")


def id_json(value: Any) -> bytes:
    """Raises ValueError for anything that is neither an unsigned 64-bit integer nor a UUID."""
    if type(value) is int and 0 <= value <= MAX_ID:
        return b"%d" % value
    if isinstance(value, str):
        return b'"%b"' % (value if _CANONICAL(value) else canonical_uuid(value)).encode("ascii")
    if isinstance(value, UUID):
        return b'"%b"' % str(value).encode("ascii")
    if value is None:
        raise ValueError(f"missing: an unsigned 64-bit integer or a UUID is needed; {_DERIVE}")
    if isinstance(value, bool) or not isinstance(value, INTEGERS):
        kind = type(value).__name__
        raise ValueError(f"{kind} is neither an unsigned 64-bit integer nor a UUID; {_DERIVE}")  # noqa: TRY004
    if not 0 <= value <= MAX_ID:
        raise ValueError(f"an integer id has to be between 0 and 2**64 - 1; {_DERIVE}")
    return b"%d" % int(value)


def payload_json(value: Any) -> bytes:
    """A payload as JSON; docs/reference/types.md says what becomes of each type.

    Raises ValueError with the path of a value that JSON cannot say exactly or that a worker refuses.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a dict, this is {type(cast('object', value)).__name__}")  # noqa: TRY004
    payload = cast("dict[Any, Any]", value)
    if VERSION_KEY in payload:
        raise ValueError(f"the key {VERSION_KEY!r} is memq's own: give the point a version instead")
    if is_plain(payload.values()):
        try:
            return orjson.dumps(payload, option=PAYLOAD_OPTIONS)
        except TypeError:
            # The walk below says where.
            pass
    return orjson.dumps(json_object(payload))


def _version_json(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, INTEGERS) or not 0 <= value <= MAX_VERSION:
        raise ValueError("expected an integer between 0 and 2**53 - 1")
    return b"%d" % int(value)


FRAME_BYTES = len(b'{"points":[]}')


class Batch(NamedTuple):
    """The points of one message, each as JSON. `positions` are theirs in the call; after the `last` one come no more,
    which is not known of each that is."""

    positions: range
    points: list[bytes]
    last: bool = False

    content_type = headers.JSON

    def body(self) -> bytes:
        return points_body(self.points)


class Splitter:
    """Gathers points until a message has as many as it may, by count or by bytes of its body."""

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self._max_points = max_points
        self._max_bytes = max_bytes
        self._first = 0
        self._points: list[bytes] = []
        self._size = FRAME_BYTES

    def add(self, point: bytes) -> Batch | None:
        """A batch that is full now. Raises InvalidPoint if no message can hold the point."""
        fitting(self._first + len(self._points), point, self._max_bytes)
        full = self._take() if self._size + len(point) > self._max_bytes else None
        self._points.append(point)
        self._size += len(point) + 1
        if len(self._points) == self._max_points:
            # Never both: where the limit is one point, nothing was waiting for this one.
            return full or self._take()
        return full

    def rest(self) -> Batch | None:
        return self._take(last=True) if self._points else None

    def _take(self, *, last: bool = False) -> Batch:
        positions = range(self._first, self._first + len(self._points))
        batch = Batch(positions, self._points, last)
        self._first = positions.stop
        self._points = []
        self._size = FRAME_BYTES
        return batch


def points_body(points: Sequence[bytes]) -> bytes:
    """Body of a message with these points, each as JSON."""
    return b'{"points":[%b]}' % (points[0] if len(points) == 1 else b",".join(points))


def fitting(position: int, point: bytes, max_bytes: int) -> bytes:
    """The point. Raises InvalidPoint if no message can hold it."""
    if FRAME_BYTES + len(point) > max_bytes:
        limit = max_bytes - FRAME_BYTES
        raise InvalidPoint(position, None, f"{len(point)} bytes as JSON, max_message_bytes leaves {limit}")
    return point
