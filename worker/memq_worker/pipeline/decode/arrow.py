"""Upserts as an Arrow IPC stream: columns are read as they lie in the message, and no number becomes a Python float."""

import importlib
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from memq_schemas import ErrorCode
from memq_schemas.json_values import InexactValue
from memq_schemas.json_values.arrow import json_values
from memq_schemas.json_values.arrow_types import unsayable
from memq_schemas.limits import MAX_VECTOR_NAME
from memq_schemas.points import MAX_VERSION, MODES, Mode
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.arrow_stream import check_payload_columns, malformed, record_batches
from memq_worker.pipeline.decode.arrow_vectors import vectors
from memq_worker.pipeline.decode.checks import check_payloads
from memq_worker.pipeline.decode.points import PAYLOAD_PLACE, check_id
from memq_worker.pipeline.store import Cell, Id, PointsBatch

_TAKEN = ("id", "vector", "payload", "version")
_NAMED = "vector."  # the column of a named vector

_payload = msgspec.json.Decoder(dict[str, Any])

_DIGITS = [at for at in range(36) if at not in (8, 13, 18, 23)]  # places in a UUID with dashes


def decode_arrow(body: bytes, max_points: int) -> PointsBatch:
    """The points of an Arrow IPC stream with columns `id`, `vector` or `vector.<name>`, `payload` and `version`.

    id: uint64, int64, string (a UUID) or fixed_size_binary[16]. vector: fixed_size_list of float or halffloat, which is
    widened, a list of these, or a struct of indices and values. payload: string (JSON objects) or struct. version: any
    integer. Raises MessageError naming the column, and the row where there is one.
    """
    try:
        pa: Any = importlib.import_module("pyarrow")
    except ImportError:
        raise MessageError(
            ErrorCode.UNSUPPORTED_CONTENT,
            "content_type: this worker cannot read Arrow without pyarrow (memq[arrow])",
            stage="decode",
        ) from None
    try:
        batches = record_batches(pa, body, max_points)
        check_payload_columns(pa, batches, len(body))
        parts = [_points(pa, batch, first) for first, batch in batches]
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError, OverflowError) as error:
        raise malformed(f"not an Arrow IPC stream ({type(error).__name__})") from None
    if not parts:
        raise MessageError(ErrorCode.EMPTY_BATCH, "points: an upsert needs at least one", stage="validate")
    whole = parts[0] if len(parts) == 1 else _joined(parts)
    whole.mode = _mode(batches[0][1].schema.metadata)
    return whole


def _mode(metadata: dict[bytes, bytes] | None) -> Mode:
    given = (metadata or {}).get(b"mode", b"upsert")
    for mode in MODES:
        if mode.encode() == given:
            return mode
    raise _invalid(f"mode: expected one of {', '.join(MODES)} in the metadata of the schema")


def _points(pa: Any, batch: Any, first: int) -> PointsBatch:
    names = batch.schema.names
    for name in names:
        if (name not in _TAKEN and not name.startswith(_NAMED)) or names.count(name) > 1:
            raise _invalid(f"{name[:100]}: not a column of points, or a duplicate; expected {', '.join(_TAKEN)}")
        if len(name.encode()) > len(_NAMED) + MAX_VECTOR_NAME:
            raise _invalid(f"{name[:20]}...: a vector's name has at most {MAX_VECTOR_NAME} bytes of UTF-8")
    named = [name for name in names if name.startswith("vector")]
    if "id" not in names or not named or ("vector" in names and len(named) > 1):
        raise _invalid("columns: expected id and vector, or id and vector.<name> for each named vector")
    columns = {
        name.removeprefix("vector").removeprefix("."): vectors(pa, batch.column(name), name, first) for name in named
    }
    return PointsBatch(
        _ids(pa, batch.column("id"), first),
        columns,
        _payloads(pa, batch.column("payload"), first) if "payload" in names else [None] * batch.num_rows,
        _versions(pa, batch.column("version"), first) if "version" in names else None,
    )


def _ids(pa: Any, column: Any, first: int) -> list[Id]:
    kind = column.type
    _no_nulls(column, "id", first)
    if isinstance(kind, pa.BaseExtensionType):
        column = column.storage
        kind = column.type
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return _uuids(b"".join(column.to_numpy(zero_copy_only=False)))
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise _invalid(f"id: expected uint64, string (UUID) or fixed_size_binary[16], got {kind}")
    return [check_id(value, first + row) for row, value in enumerate(column.to_pylist())]


def _uuids(raw: bytes) -> list[Id]:
    """16 bytes each, as Qdrant returns them: to format one costs several times what it costs to cut it out of many."""
    text = np.full((len(raw) // 16, 36), ord("-"), dtype=np.uint8)
    text[:, _DIGITS] = np.frombuffer(raw.hex().encode(), dtype=np.uint8).reshape(-1, 32)
    joined = text.tobytes().decode("ascii")
    return [joined[at : at + 36] for at in range(0, len(joined), 36)]


def _payloads(pa: Any, column: Any, first: int) -> list[dict[str, Any] | None]:
    kind = column.type
    if pa.types.is_null(kind):
        return [None] * len(column)
    if pa.types.is_struct(kind):
        payloads = _structs(column, first)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        payloads = [None if text is None else _object(text, first + row) for row, text in enumerate(column.to_pylist())]
    else:
        raise _invalid(f"payload: expected string (JSON) or struct, got {str(kind)[:80]}")
    check_payloads(payloads, PAYLOAD_PLACE, first)
    return payloads


def _object(text: str, row: int) -> dict[str, Any]:
    try:
        return _payload.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _invalid_payload(f"points[{row}].payload: not a JSON object ({type(error).__name__})") from None


def _structs(column: Any, first: int) -> list[dict[str, Any] | None]:
    """Structs as JSON says them: the same values as a producer makes of columns, bytes as base64, NaN as null."""
    reason = unsayable(column.type, binary=True, depth=0)
    if reason is not None:
        raise _invalid_payload(f"payload: {reason[:200]}")
    try:
        found = json_values(column)
    except InexactValue as problem:
        place = f"points[{first + (problem.row or 0)}].payload"
        # The path is made of the sender's words, which logs do not have.
        raise _invalid_payload(f"{place}: {problem.reason}", f"{place}.{problem}") from None
    # NaN becomes null on the way.
    return [None if value is None else _payload.decode(msgspec.json.encode(value)) for value in found]


def _invalid_payload(message: str, answer: str | None = None) -> MessageError:
    return MessageError(ErrorCode.INVALID_PAYLOAD, message, stage="validate", answer=answer)


def _versions(pa: Any, column: Any, first: int) -> list[int | None] | None:
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return None
    if not pa.types.is_integer(column.type):
        raise _invalid(f"version: expected an integer, got {str(column.type)[:80]}")
    versions = column.to_pylist()
    for row, version in enumerate(versions):
        if version is not None and not 0 <= version <= MAX_VERSION:
            raise _invalid(f"points[{first + row}].version: expected 0 to {MAX_VERSION}")
    return versions


def _no_nulls(column: Any, name: str, first: int) -> None:
    if column.null_count:
        row = column.is_valid().to_pylist().index(False)
        raise _invalid(f"points[{first + row}].{name}: missing")


def _joined(parts: list[PointsBatch]) -> PointsBatch:
    names = dict.fromkeys(name for part in parts for name in part.columns)
    versions: list[int | None] | None = None
    if any(part.versions is not None for part in parts):
        versions = [v for part in parts for v in (part.versions or [None] * len(part))]
    return PointsBatch(
        [point for part in parts for point in part.ids],
        {name: list(_column(parts, name)) for name in names},
        [payload for part in parts for payload in part.payloads],
        versions,
    )


def _column(parts: list[PointsBatch], name: str) -> Iterator[Cell | None]:
    for part in parts:
        yield from part.columns.get(name) or [None] * len(part)


def _invalid(message: str) -> MessageError:
    return MessageError(ErrorCode.INVALID, message, stage="validate")
