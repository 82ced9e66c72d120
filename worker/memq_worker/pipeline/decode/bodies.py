import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import orjson
from pydantic import ValidationError

from memq_schemas import (
    ChangeVectors,
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteIndex,
    ErrorCode,
    Facet,
    Get,
    NameAlias,
    Operation,
    Queries,
    Query,
    Scroll,
    SetPayload,
    UpdateCollection,
    headers,
    parse_routing_key,
)
from memq_schemas.collections import Empty
from memq_schemas.json_values.text import may_be_rounded
from memq_schemas.model import Model
from memq_schemas.problems import first_problem, place
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import (
    ChangePayload,
    DeletePoints,
    RemoveVectors,
    ReplaceVectors,
    Request,
    RequestBody,
    UpsertPoints,
    Write,
)
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.checks import check_payload, check_unique, check_values, count_keys
from memq_worker.pipeline.decode.expand import expanded
from memq_worker.pipeline.decode.malformed_body import malformed
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.pipeline.decode.vector_changes import decode_arrow_replacement, decode_replacement, replaces
from memq_worker.pipeline.delivery import Delivery

M = TypeVar("M", bound=Model)

_CONTENT_TYPES = (headers.JSON, headers.ARROW_STREAM)
_DIGITS, _BEYOND = 25, 2**64
_ANSWER_LIMIT = 300  # characters

_REQUEST_BODIES: dict[Operation, type[RequestBody]] = {
    Operation.QUERY: Query,
    Operation.QUERIES: Queries,
    Operation.GET: Get,
    Operation.COUNT: Count,
    Operation.SCROLL: Scroll,
    Operation.FACET: Facet,
    Operation.CREATE_INDEX: CreateIndex,
    Operation.DELETE_INDEX: DeleteIndex,
    Operation.CREATE_ALIAS: NameAlias,
    Operation.SWITCH_ALIAS: NameAlias,
    Operation.DELETE_ALIAS: NameAlias,
    Operation.ALIASES: Empty,
    Operation.CREATE: CreateCollection,
    Operation.UPDATE: UpdateCollection,
    Operation.LIST: Empty,
    Operation.LIMITS: Empty,
    Operation.DESCRIBE: Empty,
    Operation.DROP: Empty,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on a single message."""

    max_body_bytes: int
    max_points: int


def operation_of(delivery: Delivery) -> tuple[Operation, str | None]:
    """Operation and collection of the routing key. Raises MessageError."""
    try:
        return parse_routing_key(delivery.routing_key)
    except LookupError as error:
        raise MessageError(ErrorCode.UNKNOWN_OPERATION, _text(error), stage="decode") from None
    except ValueError as error:
        raise MessageError(ErrorCode.INVALID_COLLECTION, _text(error), stage="decode") from None


def decode(delivery: Delivery, limits: Limits) -> Write | Request:
    """The command in a delivery. Raises MessageError for anything that is not one."""
    operation, collection = operation_of(delivery)
    content_type, body = _content(delivery, limits)
    if operation is Operation.UPSERT:
        assert collection is not None
        read = decode_points if content_type == headers.JSON else decode_arrow
        points = read(body, limits.max_points)
        return UpsertPoints(delivery, collection, points, points.ids)
    if operation is Operation.VECTORS and (content_type != headers.JSON or replaces(body)):
        assert collection is not None
        read = decode_replacement if content_type == headers.JSON else decode_arrow_replacement
        points = read(body, limits.max_points)
        return ReplaceVectors(delivery, collection, points, points.ids)
    if content_type != headers.JSON:
        raise MessageError(ErrorCode.UNSUPPORTED_CONTENT, f"content_type: expected {headers.JSON}", stage="decode")
    if operation is Operation.DELETE:
        assert collection is not None
        return DeletePoints(delivery, collection, _body(Delete, body, limits))
    if operation is Operation.VECTORS:
        assert collection is not None
        return RemoveVectors(delivery, collection, _body(ChangeVectors, body, limits))
    if operation is Operation.PAYLOAD:
        assert collection is not None
        return ChangePayload(delivery, collection, _body(SetPayload, body, limits))
    request = _body(_REQUEST_BODIES[operation], body or b"{}", None)
    if isinstance(request, CreateCollection | UpdateCollection):
        check_payload(request.metadata, "metadata")
    return Request(delivery, operation, collection, request)


def _content(delivery: Delivery, limits: Limits) -> tuple[str, bytes]:
    """Content type and body, as it was before any content encoding."""
    # Before any parsing: a parser's memory is many times the body's.
    if len(delivery.body) > limits.max_body_bytes:
        raise MessageError(
            ErrorCode.TOO_LARGE,
            f"body: {len(delivery.body)} bytes, this worker takes {limits.max_body_bytes}",
            stage="decode",
        )
    content_type = delivery.properties.content_type or headers.JSON
    if content_type not in _CONTENT_TYPES:
        content_type = content_type.partition(";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise MessageError(
            ErrorCode.UNSUPPORTED_CONTENT,
            f"content_type: expected {headers.JSON}, or for an upsert {headers.ARROW_STREAM}",
            stage="decode",
        )
    encoding = delivery.properties.content_encoding
    if encoding is None:
        return content_type, delivery.body
    return content_type, expanded(delivery.body, encoding, limits.max_body_bytes)


def _body(model: type[M], body: bytes, write: Limits | None) -> M:
    """The body as its model. `write` are the limits on a write's ids; a request's are in the contract."""
    check_values(body)
    # orjson and not pydantic's parser: it refuses NaN, 1e999, lone surrogates and depth beyond 1,024.
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise malformed(body) from None
    if write is not None:
        _check_ids(fields, write)
    try:
        if isinstance(fields, dict):
            check_unique(body, count_keys(fields))
            if model is SetPayload:
                # orjson makes a float of an integer that 64 bits cannot hold.
                whole = json.loads(body, parse_int=_whole) if may_be_rounded(fields) else cast("Any", fields)
                return _change(whole)
        return model.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from None
    except RecursionError:
        raise MessageError(ErrorCode.MALFORMED, "body: nested too deeply", stage="decode") from None


def _change(fields: dict[str, Any]) -> Any:
    """Return the change of payloads. What a parser has made of JSON needs no look of pydantic at each value."""
    payloads = {name: fields[name] for name in ("overwrite", "set") if type(fields.get(name)) is dict}
    change = SetPayload.model_validate(fields | {name: {} for name in payloads})
    for name, payload in payloads.items():
        check_payload(payload, name)
    return change.model_copy(update=payloads)


def _whole(digits: str) -> int:
    # Python reads an integer in quadratic time, and none of more than 4,300 digits. All of these are refused alike.
    return int(digits) if len(digits) < _DIGITS else _BEYOND


def _check_ids(fields: Any, limits: Limits) -> None:
    ids: Any = cast("dict[str, Any]", fields).get("ids") if isinstance(fields, dict) else None
    if isinstance(ids, list) and len(cast("list[Any]", ids)) > limits.max_points:
        raise MessageError(
            ErrorCode.TOO_MANY_POINTS,
            f"ids: {len(cast('list[Any]', ids))} in one message, this worker takes {limits.max_points}",
            stage="decode",
        )


def _refusal(error: ValidationError) -> MessageError:
    steps, text, kind = first_problem(error)
    within = steps[2:] if steps[:1] == ["queries"] else steps
    if within[:1] == ["vector"]:
        code = ErrorCode.EMPTY_VECTOR if kind == "too_short" else ErrorCode.INVALID_VECTOR
        return MessageError(code, f"{place(steps)}: {text}", stage="validate")
    # A name that is none of ours is the sender's own word: he sees it again, logs and dead letters do not.
    known = [step if isinstance(step, int) or step in _field_names() else "?" for step in steps]
    return MessageError(
        ErrorCode.INVALID, _placed(known, text), stage="validate", answer=_placed(steps, text)[:_ANSWER_LIMIT]
    )


def _placed(steps: Sequence[str | int], text: str) -> str:
    return f"{place(steps) or 'body'}: {text}"


@lru_cache(maxsize=1)
def _field_names() -> frozenset[str]:
    """Every field of every body, those inside filters included."""
    found: set[str] = set()
    for model in (Delete, SetPayload, ChangeVectors, *_REQUEST_BODIES.values()):
        schema = model.model_json_schema(by_alias=True)
        for part in (schema, *schema.get("$defs", {}).values()):
            found.update(part.get("properties", {}))
    return frozenset(found)


def _text(error: Exception) -> str:
    return str(error.args[0])
