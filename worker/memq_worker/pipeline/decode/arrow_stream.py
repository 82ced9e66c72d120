"""An Arrow IPC stream as its record batches, within limits that hold before anything is read."""

import struct
from typing import Any

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_NAMED_VECTORS, MAX_RECORD_BATCHES, MAX_VALUES, max_values
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.checks import SMALL, check_count, check_values, too_many_values

# Arrow's columnar format, Message.fbs: fields of the tables Message and RecordBatch.
_HEADER, _COMPRESSION = 2, 3
_MAX_SCHEMA_BYTES = 2**18
# Run-end encoded rows times the bytes of all their values: an upper bound of what they expand to.
MAX_REPEATED_BYTES = 64 * 2**20
_END_BYTES = (8, 4)  # of the mark that ends a stream, now and before Arrow 0.15


def record_batches(pa: Any, body: bytes, max_points: int) -> list[tuple[int, Any]]:
    """Return the batches that have rows, each with the number of its first row. Raises MessageError.

    Buffers are checked whole, because offsets in them are the sender's.
    """
    found: list[tuple[int, Any]] = []
    rows = 0
    source = pa.BufferReader(body)
    messages = pa.ipc.MessageReader.open_stream(source)
    first = _next(messages)
    if first is None or first.type != "schema":
        raise malformed("not an Arrow IPC stream")
    schema = _schema(pa, first)
    for number in range(MAX_RECORD_BATCHES + 1):
        read_to = source.tell()
        message = _next(messages)
        if message is None:
            _check_end(len(body), read_to, source.tell())
            return found
        if number == MAX_RECORD_BATCHES:
            break
        batch = _batch(pa, message, schema)
        if batch.num_rows:
            found.append((rows, batch))
        rows += batch.num_rows
        check_count(rows, max_points)
    raise MessageError(ErrorCode.TOO_LARGE, f"body: more than {MAX_RECORD_BATCHES} record batches", stage="decode")


def check_payload_columns(pa: Any, batches: list[tuple[int, Any]], size: int) -> None:
    """Raise MessageError for payloads with too many values, or of types that may repeat memory.

    size: bytes of the message.
    """
    columns = [batch.column("payload") for _, batch in batches if "payload" in batch.schema.names]
    types = pa.types
    count = 0
    for column in columns:
        if types.is_struct(column.type):
            count += _values(pa, column)
            if count > max_values(size):
                raise too_many_values("payload", max_values(size))
    texts = [each.buffers()[2] for each in columns if types.is_string(each.type) or types.is_large_string(each.type)]
    if sum(len(text) for text in texts if text is not None) > SMALL:
        check_values(b",".join(text for text in texts if text is not None), "payload", size)


def _values(pa: Any, array: Any) -> int:
    """Number of values in an array, nested ones included."""
    while isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        return _repeated(pa, array)
    if pa.types.is_fixed_size_list(array.type):
        # Its values may take no memory at all, as those of the type null do.
        _checked(len(array) * array.type.list_size)
    return len(array) + sum(_values(pa, child) for child in _children(pa, array))


def _children(pa: Any, array: Any) -> list[Any]:
    """Arrays within an array. Raise MessageError for a type that may repeat memory."""
    kind, types = array.type, pa.types
    if types.is_struct(kind) or types.is_union(kind):
        return [array.field(index) for index in range(kind.num_fields)]
    if types.is_map(kind):
        return [array.keys, array.items]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [array.values]
    if not _is_plain(types, kind):
        raise malformed(f"payload: {str(kind)[:80]} is not supported; send structs, lists and plain values")
    return []


def _repeated(pa: Any, array: Any) -> int:
    """Number of values in a run-end encoded array, which repeats each of its values without taking memory for it."""
    values = array.values
    if len(array) * values.nbytes > MAX_REPEATED_BYTES:
        raise MessageError(
            ErrorCode.TOO_LARGE, "payload: run-end encoded values are too large; send plain values", stage="decode"
        )
    each = _values(pa, values)
    return _checked(len(array) if each == len(values) else len(array) * each)


def _checked(count: int) -> int:
    if count > MAX_VALUES:
        raise too_many_values("payload", MAX_VALUES)
    return count


def _is_plain(types: Any, kind: Any) -> bool:
    """Return True if each value has memory of its own; views, runs and dictionaries can repeat values."""
    return types.is_primitive(kind) or any(
        is_kind(kind)
        for is_kind in (
            types.is_null,
            types.is_boolean,
            types.is_decimal,
            types.is_string,
            types.is_large_string,
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
        )
    )


def _next(messages: Any) -> Any:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _schema(pa: Any, message: Any) -> Any:
    if len(message.metadata) > _MAX_SCHEMA_BYTES:
        raise MessageError(
            ErrorCode.TOO_LARGE, f"body: a schema of more than {_MAX_SCHEMA_BYTES} bytes", stage="decode"
        )
    schema = pa.ipc.read_schema(message)
    if len(schema) > MAX_NAMED_VECTORS + 3:
        raise MessageError(
            ErrorCode.INVALID, f"columns: {len(schema)}, at most {MAX_NAMED_VECTORS + 3} are possible", stage="validate"
        )
    return schema


def _batch(pa: Any, message: Any, schema: Any) -> Any:
    if message.type != "record batch":
        raise malformed(f"{message.type} messages are not supported; send plain columns")
    if _compressed(message.metadata.to_pybytes()):
        # What it expands to is nowhere bounded: content_encoding is the way to compress.
        raise malformed("compressed buffers are not supported; use content_encoding zstd")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    return batch


def _check_end(size: int, before: int, after: int) -> None:
    """Raise MessageError unless the stream ends with its mark, and the body with the stream."""
    if after - before not in _END_BYTES:
        raise malformed("the Arrow stream is truncated: its end marker is missing")
    if after < size:
        raise malformed(f"{size - after} bytes after the end of the Arrow stream")


def _compressed(metadata: bytes) -> bool:
    (root,) = struct.unpack_from("<I", metadata)
    header = _field(metadata, root, _HEADER)
    if not header:
        return False
    (offset,) = struct.unpack_from("<I", metadata, header)
    return bool(_field(metadata, header + offset, _COMPRESSION))


def _field(metadata: bytes, table: int, index: int) -> int:
    """Where the field of a flatbuffer table lies; 0 when it is absent."""
    (back,) = struct.unpack_from("<i", metadata, table)
    vtable = table - back
    if vtable < 0:
        raise IndexError
    (size,) = struct.unpack_from("<H", metadata, vtable)
    at = 4 + 2 * index
    if at >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, vtable + at)
    return table + offset if offset else 0


def malformed(reason: str) -> MessageError:
    return MessageError(ErrorCode.MALFORMED, f"body: {reason}", stage="decode")
