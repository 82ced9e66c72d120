import re
from typing import Any

import msgspec

from memq_schemas import ErrorCode
from memq_schemas.ids import MAX_ID, canonical_uuid
from memq_schemas.limits import MAX_NAMED_VECTORS, MAX_VECTORS, max_values, max_vectors
from memq_schemas.point_vectors import is_sparse
from memq_schemas.points import MAX_VERSION, MODES, Mode
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.checks import (
    SMALL,
    census,
    check_count,
    check_payload,
    check_payloads,
    check_unique,
    check_values,
    outside_texts,
    too_many_vectors,
)
from memq_worker.pipeline.decode.lists import MAYBE_LISTS, VECTOR_KEY, ListedPoint, read_lists
from memq_worker.pipeline.decode.malformed_body import malformed
from memq_worker.pipeline.decode.vectors import AnyVectors, check_columns, check_names, columns_of, count_keys
from memq_worker.pipeline.store import Id, PointsBatch


class WirePoint(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: int | str
    vector: list[float] | str | dict[str, list[float] | str | None]
    payload: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    version: int | msgspec.UnsetType | None = msgspec.UNSET


_Mode = Mode | msgspec.UnsetType | None


class WireUpsert(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    points: list[WirePoint]
    mode: _Mode = msgspec.UNSET


class _AnyPoint(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: int | str
    vector: AnyVectors
    payload: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    version: int | msgspec.UnsetType | None = msgspec.UNSET


class _AnyUpsert(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    points: list[_AnyPoint]
    mode: _Mode = msgspec.UNSET


Points = list[WirePoint] | list[_AnyPoint] | list[ListedPoint]

# The contract's pydantic models say the same (a property test compares them); msgspec parses and validates in one pass,
# at about the cost of a parser that only parses.
_decoder = msgspec.json.Decoder(WireUpsert)
# Sparse vectors and multivectors as well; each number of a list costs it more.
_any_decoder = msgspec.json.Decoder(_AnyUpsert)


class _OutlinePoint(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: msgspec.Raw
    vector: msgspec.Raw
    payload: msgspec.Raw = msgspec.Raw(b"null")
    version: msgspec.Raw = msgspec.Raw(b"null")


class _Outline(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    points: list[_OutlinePoint]
    mode: msgspec.Raw = msgspec.Raw(b"null")


# Where the parts of a message lie; building nothing of them, it costs a fraction.
_outline = msgspec.json.Decoder(_Outline)
_OPENING = ord("{")

PAYLOAD_PLACE = "points[{}].payload"
_UNKNOWN_FIELD = "Object contains unknown field"
_MISSING_FIELD = "Object missing required field"
_INVALID_CHOICE = "Invalid enum value"  # of the mode, the only one
_VECTOR_PATH = re.compile(r"points\[\d+\]\.vector")
_TYPES = re.compile(r"`([^`]+)`")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_NAME_LIMIT = 100  # characters


def decode_points(body: bytes, max_points: int) -> PointsBatch:
    """The points of an upsert body. Raises MessageError naming the first bad point by index."""
    most, openings = census(body)
    many_containers = openings > MAX_VECTORS
    if many_containers:
        _check_outline(body, max_points)
    listed = read_lists(body, max_points, most) if MAYBE_LISTS(body, body.find(VECTOR_KEY)) else None
    if most and listed is None and most > max_values(len(body)) and not many_containers:
        _check_outline(body, max_points)
    points, mode = _parse(body) if listed is None else listed
    if not points:
        raise MessageError(ErrorCode.EMPTY_BATCH, "points: an upsert needs at least one", stage="validate")
    check_count(len(points), max_points)
    ids: list[Id] = []
    payloads: list[dict[str, Any] | None] = []
    keys = 1 + (mode is not msgspec.UNSET)
    for index, point in enumerate(points):
        ids.append(check_id(point.id, index))
        keys += 2 + (count_keys(point.vector) if isinstance(point.vector, dict) else 0)
        payload = point.payload
        if payload is msgspec.UNSET:
            payload = None
        else:
            keys += 1
            if payload:
                keys += len(payload)
        payloads.append(payload)
        keys += point.version is not msgspec.UNSET
    if len(payloads) == 1:
        nested = check_payload(payloads[0], PAYLOAD_PLACE, 0) - len(payloads[0] or ())
    else:
        nested = check_payloads(payloads, PAYLOAD_PLACE)
    if listed is None or nested:
        check_unique(body, keys + nested)
    most_vectors = MAX_VECTORS if len(body) <= SMALL else max_vectors(len(body))
    columns = columns_of([point.vector for point in points], most_vectors)
    if listed is None:
        check_columns(columns)
    return PointsBatch(
        ids,
        columns,
        payloads,
        versions_of([point.version for point in points]),
        "upsert" if mode is msgspec.UNSET else mode or "upsert",
    )


def _parse(body: bytes) -> tuple[list[WirePoint] | list[_AnyPoint], _Mode]:
    try:
        return _decoded(body)
    except UNREADABLE as error:
        raise unreadable(error, body) from None


def _decoded(body: bytes) -> tuple[list[WirePoint] | list[_AnyPoint], _Mode]:
    try:
        plain = _decoder.decode(body)
        # An unnamed sparse vector reads like two named dense ones.
        if not [point for point in plain.points if type(point.vector) is dict and is_sparse(point.vector)]:
            return plain.points, plain.mode
    except msgspec.ValidationError as error:
        if ".vector" not in str(error):
            raise
    found = _any_decoder.decode(body)
    return found.points, found.mode


def _check_outline(body: bytes, max_points: int) -> None:
    """Raise MessageError for a message that exceeds a limit, before its values are built."""
    try:
        points = _outline.decode(body).points
    except UNREADABLE as error:
        raise unreadable(error, body) from None
    check_count(len(points), max_points)
    payloads = [memoryview(point.payload) for point in points]
    vectors = b",".join([memoryview(point.vector) for point in points])
    most = max_vectors(len(body))
    if vectors.count(b"[") > most and outside_texts(vectors, b"[") > most:
        raise too_many_vectors(most)
    check_values(b",".join(payloads), "payload", len(body))
    for index, point in enumerate(points):
        vector = memoryview(point.vector)
        if vector[0] == _OPENING and len(vector) > 2 * MAX_NAMED_VECTORS:
            # A sparse vector has three colons, its name's among them.
            check_names(outside_texts(bytes(vector), b":") // 3, index)


# What msgspec raises for a body that it cannot read.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def unreadable(error: Exception, body: bytes) -> MessageError:
    """Return the refusal of a body over which msgspec has raised `error`, one of UNREADABLE."""
    if isinstance(error, msgspec.ValidationError):
        return _refusal(str(error))
    if isinstance(error, RecursionError):
        return MessageError(ErrorCode.MALFORMED, "body: nested too deeply", stage="decode")
    return malformed(body, str(error))


def _refusal(text: str) -> MessageError:
    # msgspec says "Expected `float`, got `str` - at `$.points[3].vector[0]`". It quotes one thing, the name of a field
    # that it does not know, and that is the sender's to see.
    reason, _, path = text.partition(" - at `$")
    path = path.removesuffix("`").lstrip(".")
    code = ErrorCode.INVALID_VECTOR if _VECTOR_PATH.match(path) else ErrorCode.INVALID
    if reason.startswith(_UNKNOWN_FIELD):
        name = reason.removeprefix(_UNKNOWN_FIELD).strip(" `")[:_NAME_LIMIT]
        return MessageError(
            code, _placed(path, "?", "unknown field"), stage="validate", answer=_placed(path, name, "unknown field")
        )
    if reason.startswith(_INVALID_CHOICE):
        return MessageError(code, _placed(path, "", f"expected one of {', '.join(MODES)}"), stage="validate")
    if reason.startswith(_MISSING_FIELD):
        name = reason.removeprefix(_MISSING_FIELD).strip(" `")
        return MessageError(code, _placed(path, name, "missing"), stage="validate")
    reason = _TYPES.sub(lambda found: " or ".join(_WORDS.get(each, each) for each in found[1].split(" | ")), reason)
    return MessageError(code, _placed(path, "", reason[:1].lower() + reason[1:]), stage="validate")


def _placed(path: str, name: str, text: str) -> str:
    place = ".".join(step for step in (path, name) if step)
    return f"{place}: {text}" if place else f"body: {text}"


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


def versions_of(given: list[int | msgspec.UnsetType | None]) -> list[int | None] | None:
    """The versions of points, or None if there are none. Raises MessageError naming the point by its index."""
    versions = [None if version is msgspec.UNSET else version for version in given]
    if not any(version is not None for version in versions):
        return None
    for index, version in enumerate(versions):
        if version is not None and not 0 <= version <= MAX_VERSION:
            raise MessageError(
                ErrorCode.INVALID, f"points[{index}].version: expected 0 to {MAX_VERSION}", stage="validate"
            )
    return versions
