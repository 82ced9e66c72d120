"""Bodies of everything but upserts, checked against the contract before they leave."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np
import orjson
from pydantic import ValidationError

from memq.encode.points import PAYLOAD_OPTIONS, id_json, payload_json
from memq.encode.vectors import VectorJson
from memq.errors import InvalidRequest
from memq_schemas import problems
from memq_schemas.json_values import json_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq_schemas.model import Model

M = TypeVar("M", bound="Model")


class RestModel(Protocol):
    """A pydantic model, such as those of qdrant_client."""

    def model_dump(self) -> dict[str, Any]: ...


_PAYLOADS = ("set", "overwrite")


def body(model: type[M], fields: Mapping[str, Any]) -> bytes:
    """The fields that are not None, as JSON. Raises InvalidRequest naming the field."""
    given = {name: _plain(name, value) for name, value in fields.items() if value is not None}
    try:
        text = orjson.dumps(given, default=json_value, option=PAYLOAD_OPTIONS)
    except TypeError as error:
        raise InvalidRequest(f"not JSON: {error.__cause__ or error}") from None
    try:
        model.model_validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(first_problem(error)) from None
    return text


def wire_ids(ids: Iterable[object]) -> list[orjson.Fragment]:
    """Raises InvalidRequest naming the first that is no id."""
    if isinstance(ids, (str, bytes)) or not isinstance(cast("object", ids), Iterable):
        raise InvalidRequest(f"ids: expected a list of ids, this is {type(ids).__name__}")
    checked: list[orjson.Fragment] = []
    for index, id_ in enumerate(ids):
        try:
            checked.append(orjson.Fragment(id_json(id_)))
        except ValueError as error:
            raise InvalidRequest(f"ids[{index}]: {str(error).removeprefix('id: ')}") from None
    return checked


def wire_vector(vector: object) -> orjson.Fragment:
    """A vector to search near: dense, sparse or a multivector. Raises InvalidRequest."""
    try:
        return orjson.Fragment(VectorJson().one(vector))
    except ValueError as error:
        raise InvalidRequest(f"vector: {error}") from None


def rest_form(value: Any) -> Any:
    """Models, memq's and qdrant_client's, as dicts, and numpy arrays as lists, at any depth."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, np.ndarray):
        return cast("Any", value).tolist()
    if isinstance(value, dict):
        return {key: rest_form(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [rest_form(item) for item in cast("list[Any]", value)]
    return value


def first_problem(error: ValidationError) -> str:
    """Return the first problem as one line, the field first."""
    steps, text, _ = problems.first_problem(error)
    return f"{problems.place(steps)}: {text}" if steps else text


def _plain(name: str, value: Any) -> Any:
    if name in _PAYLOADS and isinstance(value, dict):
        try:
            return orjson.Fragment(payload_json(value))
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}") from None
    value = rest_form(value)
    _require_finite(value, name)
    return value


def _require_finite(value: Any, path: str) -> None:
    """Raises InvalidRequest for NaN and infinity, which would be sent as null and mean another request."""
    if isinstance(value, (float, np.floating)) and not math.isfinite(cast("float", value)):
        raise InvalidRequest(f"{path}: {value}, which JSON has no number for")
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            _require_finite(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("list[Any]", value)):
            _require_finite(item, f"{path}[{index}]")
