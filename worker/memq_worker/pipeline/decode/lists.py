"""Upserts whose vectors are lists of numbers, read without making a Python float of any of them."""

import importlib
import math
import re
from typing import Any, NamedTuple

import numpy as np
import orjson
from msgspec import UNSET, UnsetType

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_NAMED_VECTORS, MAX_VECTORS, MIN_VALUES, max_values, max_vectors
from memq_schemas.point_vectors import SPARSE
from memq_schemas.points import MODES
from memq_schemas.vectors import MAX_DIMENSIONS, FloatArray
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.checks import check_count, too_many_vectors

try:
    _simdjson: Any = importlib.import_module("simdjson")
except ImportError:  # it has no wheels for the newest Pythons at first
    _simdjson = None
else:
    _Array: Any = _simdjson.Array
    _Object: Any = _simdjson.Object
    _parser: Any = _simdjson.Parser()

VECTOR_KEY = b'"vector"'
_SPACE = rb"[ \t\r\n]*"
# A list of numbers, or an object whose first vector is one; `indices` and `values` are those of a sparse vector.
MAYBE_LISTS = re.compile(
    VECTOR_KEY
    + rb":".join((_SPACE, _SPACE))
    + rb'(?:\{%b"(?!indices"|values")[^"]*"%b:%b)?\[%b[^\["]' % ((_SPACE,) * 4)
).match
"""Match the first vector of a body if it is a list. The others are mostly like it; if not, `read_lists` gives up."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ID_TYPES = (str, int)
_VERSION_TYPES = (int, UnsetType, type(None))
_FEW = 8192
# Where the squares of doubles add up to less, none is too large for float32, whose largest is 3.4e38.
_SQUARES = 1e76
# A parser keeps memory of many times its largest document.
_KEPT_BYTES = 2 * 2**20


class ListedPoint(NamedTuple):
    """A point as it was in the body, but for its vectors, which are little-endian float32 bytes already."""

    id: int | str
    vector: bytes | dict[str, bytes]
    payload: Any  # a dict, None or UNSET
    version: Any  # an int, None or UNSET


class _UnusualError(Exception):
    pass


def read_lists(body: bytes, max_points: int, most: int) -> tuple[list[ListedPoint], Any] | None:
    """The points of an upsert in its usual form, and its mode or UNSET; None for all others, right or wrong.

    Vectors have 1 to MAX_DIMENSIONS finite numbers, and no key is there twice, but maybe in what a payload nests. What
    ids, versions and payloads say is for the caller to check. Raises MessageError for too many points or vectors, and
    for a vector of more numbers.

    most: upper limit of the number of values.
    """
    if _simdjson is None or body.startswith(_BYTE_ORDER_MARK):
        return None
    if most > MIN_VALUES and most > max_values(len(body)) and _is_dense(body, max_points, most):
        return None
    parser = _parser if len(body) <= _KEPT_BYTES else _simdjson.Parser()
    try:
        return _points(parser.parse(body), body, max_points, most)
    # KeyError is a field that is missing; the parser raises the others, RuntimeError and MemoryError for its limits.
    except (_UnusualError, AttributeError, KeyError, MemoryError, RuntimeError, TypeError, ValueError):
        return None


def _points(document: Any, body: bytes, max_points: int, most: int) -> tuple[list[ListedPoint], Any]:
    mode: Any = UNSET
    if len(document) != 1:
        mode = document["mode"]
        if len(document) != 2 or mode not in MODES:
            raise _UnusualError
    array = document["points"]
    if type(array) is not _Array:
        raise _UnusualError
    check_count(len(array), max_points)
    if most > MIN_VALUES and most > max_values(len(body)):
        _check_values(array, most, max_values(len(body)))
    vectors: list[Any] = []
    points = [_point(point, vectors, len(body)) for point in array]
    rows = iter(_rows(vectors, body, points))
    points_read = [
        ListedPoint(identifier, next(rows) if names is None else dict(zip(names, rows, strict=False)), payload, version)
        for identifier, names, payload, version in points
    ]
    return points_read, mode


def _is_dense(body: bytes, max_points: int, most: int) -> bool:
    """Whether most values are outside of vectors, if all of those are as long as the first."""
    first = body.find(b"[", body.find(VECTOR_KEY))
    numbers = 1 + body.count(b",", first, body.find(b"]", first))
    points = body.count(VECTOR_KEY)
    return points <= max_points and most - numbers * points > max_values(len(body))


def _check_values(points: Any, most: int, limit: int) -> None:
    """Leave a body to the other parser that may have more values than a message may, numbers of vectors aside."""
    for point in points:
        vector = point["vector"]
        if type(vector) is not _Object:
            most -= len(vector)
        elif len(vector) <= MAX_NAMED_VECTORS:
            most -= sum(len(vector[name]) for name in vector)
    if most > limit:
        raise _UnusualError


def _point(point: Any, vectors: list[Any], size: int) -> tuple[Any, list[str] | None, Any, Any]:
    """Id, names of its vectors, which are added to `vectors`, payload and version."""
    identifier, vector = point["id"], point["vector"]
    payload: Any = UNSET
    version: Any = UNSET
    fields = len(point) - 2  # a field that is there twice counts twice
    if fields:
        payload = point.get("payload", UNSET)
        fields -= payload is not UNSET
        if fields:  # to look for what is not there costs ten times the rest
            version = point["version"]
            fields -= 1
    if fields or type(identifier) not in _ID_TYPES or type(version) not in _VERSION_TYPES:
        raise _UnusualError
    if type(payload) is _Object:
        keys = len(payload)
        payload = payload.as_dict()
        if len(payload) != keys:
            raise _UnusualError
    elif payload is not UNSET and payload is not None:
        raise _UnusualError
    if type(vector) is not _Object:
        vectors.append(vector)
        return identifier, None, payload, version
    return identifier, _add_named(vector, vectors, size), payload, version


def _add_named(vector: Any, vectors: list[Any], size: int) -> list[str]:
    """Add the vectors of a point, and return their names."""
    if len(vector) > MAX_NAMED_VECTORS:
        raise _UnusualError
    if len(vectors) + len(vector) > MAX_VECTORS and len(vectors) + len(vector) > max_vectors(size):
        raise too_many_vectors(max_vectors(size))
    names = list(vector)
    if len(set(names)) != len(names) or SPARSE.issuperset(names):
        raise _UnusualError
    vectors += [vector[name] for name in names]
    return names


def _too_long(lengths: list[int], points: list[tuple[Any, ...]]) -> MessageError:
    """The refusal of the first vector with too many numbers, which the other parser would read one by one."""
    place = next(place for place, length in enumerate(lengths) if length > MAX_DIMENSIONS)
    reason = f"{lengths[place]} numbers, at most {MAX_DIMENSIONS} are possible"
    fields = [
        (index, name) for index, (_, names, _, _) in enumerate(points) for name in ([""] if names is None else names)
    ]
    index, name = fields[place]
    field = f"points[{index}].vector"
    message, answer = (f"{field}{'.' * bool(name)}{shown}: {reason}" for shown in ("?" * bool(name), name[:100]))
    return MessageError(ErrorCode.INVALID_VECTOR, message, stage="validate", answer=answer)


def _rows(vectors: list[Any], body: bytes, points: list[tuple[Any, ...]]) -> list[bytes]:
    lengths = [len(vector) for vector in vectors]
    if not lengths or 0 in lengths:
        raise _UnusualError
    if max(lengths) > MAX_DIMENSIONS:
        raise _too_long(lengths, points)
    # A list within a vector would be flattened. Every list has its bracket, and the others must be the payloads' own;
    # one that is escaped there could stand for one that is not.
    brackets = _brackets(body) - 1 - len(vectors)
    if brackets and (
        b"\\u005" in body or brackets != orjson.dumps([payload or None for _, _, payload, _ in points]).count(b"[") - 1
    ):
        raise _UnusualError
    buffers = [vector.as_buffer(of_type="d") for vector in vectors]
    doubles: Any = np.frombuffer(buffers[0] if len(buffers) == 1 else b"".join(buffers), dtype=np.float64)
    if len(doubles) != sum(lengths):
        raise _UnusualError
    raw = _narrowed(doubles)
    if len(lengths) == 1:
        return [raw]
    rows: list[bytes] = []
    start = 0
    for length in lengths:
        rows.append(raw[start : start + 4 * length])
        start += 4 * length
    return rows


def _narrowed(doubles: Any) -> bytes:
    """Convert to float32. Raises if a value overflows."""
    # Of the products np.vdot is the one that does not warn of an overflow. OpenBLAS shares those of many doubles among
    # threads, which then spin for longer than it took.
    if len(doubles) < _FEW:
        if not np.vdot(doubles, doubles) < _SQUARES:
            raise _UnusualError
        return doubles.astype("<f4").tobytes()
    with np.errstate(over="ignore"):
        floats: FloatArray = doubles.astype("<f4")
    if not math.isfinite(np.vdot(floats, floats)):
        raise _UnusualError
    return floats.tobytes()


def _brackets(body: bytes) -> int:
    # They are few, and bytes.count looks at one byte after the other.
    found, at = 0, body.find(b"[")
    while at >= 0:
        found += 1
        at = body.find(b"[", at + 1)
    return found
