import math
import re
import struct
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from memq_schemas import ErrorCode
from memq_schemas.ids import MAX_ID, canonical_uuid
from memq_schemas.points import MAX_VERSION
from memq_schemas.vectors import MAX_DIMENSIONS, float32_bytes
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.keys import check_unique
from memq_worker.pipeline.decode.lists import ListedPoint, read_lists
from memq_worker.pipeline.decode.payload import check_payload
from memq_worker.pipeline.store import Column, Id, PointsBatch

WireVector = list[float] | str


class WirePoint(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: int | str
    vector: list[float] | str | dict[str, WireVector]
    payload: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    version: int | msgspec.UnsetType | None = msgspec.UNSET


Points = list[WirePoint] | list[ListedPoint]


class WireUpsert(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    points: list[WirePoint]


# The contract's pydantic models say the same (a property test compares them); msgspec parses and validates in one pass,
# at about the cost of a parser that only parses.
_decoder = msgspec.json.Decoder(WireUpsert)


PAYLOAD_PLACE = "points[{}].payload"
_UNKNOWN_FIELD = "Object contains unknown field"
_NAME_LIMIT = 100  # characters


def decode_points(body: bytes, max_points: int) -> PointsBatch:
    """The points of an upsert body. Raises MessageError naming the first bad point by index."""
    listed = read_lists(body)
    points = _parse(body) if listed is None else listed
    if not points:
        raise MessageError(ErrorCode.EMPTY_BATCH, "points: an upsert needs at least one", stage="validate")
    if len(points) > max_points:
        raise MessageError(
            ErrorCode.TOO_MANY_POINTS,
            f"points: {len(points)} in one message, this worker takes {max_points}",
            stage="validate",
        )
    ids: list[Id] = []
    payloads: list[dict[str, Any] | None] = []
    keys, nested = 1, 0
    for index, point in enumerate(points):
        ids.append(check_id(point.id, index))
        keys += 2 + (len(point.vector) if isinstance(point.vector, dict) else 0)
        payload = point.payload
        if payload is msgspec.UNSET:
            payload = None
        else:
            keys += 1
            if payload:
                keys += len(payload)
                nested += check_payload(payload, PAYLOAD_PLACE, index) - len(payload)
        payloads.append(payload)
        keys += point.version is not msgspec.UNSET
    if listed is None or nested:
        check_unique(body, keys + nested)
    columns = _columns(points)
    if listed is None:
        _check_finite(columns)
    return PointsBatch(ids, columns, payloads, _versions(points))


def _parse(body: bytes) -> list[WirePoint]:
    try:
        return _decoder.decode(body).points
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(ErrorCode.MALFORMED, f"body: not JSON: {_first_line(error)}", stage="decode") from None
    except RecursionError:
        raise MessageError(ErrorCode.MALFORMED, "body: nested too deeply", stage="decode") from None


def _invalid(text: str) -> MessageError:
    # msgspec says "Expected `float`, got `str` - at `$.points[3].vector[0]`". It quotes one thing, the name of a field
    # that it does not know, and that is the sender's to see.
    reason, _, path = text.partition(" - at `$")
    path = path.removesuffix("`").lstrip(".")
    code = ErrorCode.INVALID_VECTOR if re.match(r"points\[\d+\]\.vector", path) else ErrorCode.INVALID
    place = f"{path}: " if path else ""
    if reason.startswith(_UNKNOWN_FIELD):
        name = reason.removeprefix(_UNKNOWN_FIELD).strip(" `")[:_NAME_LIMIT]
        return MessageError(
            code, f"{place}unknown field", stage="validate", answer=f"{place}object contains unknown field {name}"
        )
    return MessageError(code, place + reason[:1].lower() + reason[1:].replace("`", ""), stage="validate")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def check_id(value: int | str, index: int) -> Id:
    """The id as Qdrant returns it. Raises MessageError naming the point by its index."""
    if isinstance(value, int):
        if 0 <= value <= MAX_ID:
            return value
        reason = f"an integer id is from 0 to {MAX_ID}"
    else:
        try:
            return canonical_uuid(value)
        except ValueError as error:
            reason = str(error).removeprefix("id: ")
    raise MessageError(ErrorCode.INVALID, f"points[{index}].id: {reason}", stage="validate")


def _versions(points: Points) -> list[int | None] | None:
    versions = [None if point.version is msgspec.UNSET else point.version for point in points]
    if not any(version is not None for version in versions):
        return None
    for index, version in enumerate(versions):
        if version is not None and not 0 <= version <= MAX_VERSION:
            raise MessageError(
                ErrorCode.INVALID, f"points[{index}].version: expected 0 to {MAX_VERSION}", stage="validate"
            )
    return versions


def _columns(points: Points) -> dict[str, Column]:
    columns: dict[str, Column] = {}

    def put(name: str, value: bytes | WireVector, index: int) -> None:
        column = columns.get(name)
        if column is None:
            column = columns[name] = [None] * len(points)
        column[index] = value if isinstance(value, bytes) else _vector_bytes(value, index)

    for index, point in enumerate(points):
        vector = point.vector
        if not isinstance(vector, dict):
            put("", vector, index)
            continue
        if not vector:
            raise MessageError(ErrorCode.EMPTY_VECTOR, f"points[{index}].vector: no vectors", stage="validate")
        for name, value in vector.items():
            put(name, value, index)
    return columns


def _vector_bytes(value: WireVector, index: int) -> bytes:
    if not value:
        raise MessageError(ErrorCode.EMPTY_VECTOR, f"points[{index}].vector: no numbers", stage="validate")
    try:
        if isinstance(value, str):
            return float32_bytes(value)
        return _packer(len(value)).pack(*value)
    except OverflowError:
        reason = "a number too large for float32"
    except ValueError as error:
        reason = str(error)
    raise MessageError(ErrorCode.INVALID_VECTOR, f"points[{index}].vector: {reason}", stage="validate")


@lru_cache(maxsize=64)
def _packer(size: int) -> struct.Struct:
    if size > MAX_DIMENSIONS:
        raise ValueError(f"{size} numbers, at most {MAX_DIMENSIONS} are possible")
    return struct.Struct(f"<{size}f")


def _check_finite(columns: dict[str, Column]) -> None:
    for column in columns.values():
        # One pass over the message's vectors: numpy's cost per call is a hundred times that per vector.
        rows = [row for row in column if row is not None]
        numbers = np.frombuffer(rows[0] if len(rows) == 1 else b"".join(rows), dtype="<f4")
        # A sum of squares is one pass where isfinite().all() is two calls; that it may overflow only costs the slow
        # look. Of the products np.vdot is the one that does not warn of it.
        if not math.isfinite(np.vdot(numbers, numbers)):
            _find_not_finite(column)


def _find_not_finite(column: Column) -> None:
    for index, row in enumerate(column):
        if row is not None and not np.isfinite(np.frombuffer(row, dtype="<f4")).all():
            raise MessageError(ErrorCode.INVALID_VECTOR, f"points[{index}].vector: NaN or infinite", stage="validate")
