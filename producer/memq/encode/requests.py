"""Bodies of everything but upserts, checked against the contract before they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import ValidationError

from memq.encode.points import PAYLOAD_OPTIONS, id_json
from memq.encode.vectors import flat_array, require_finite
from memq.errors import InvalidRequest
from memq_schemas import Filter
from memq_schemas.vectors import to_base64

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memq_schemas.model import Model

M = TypeVar("M", bound="Model")


def body(model: type[M], fields: Mapping[str, Any]) -> bytes:
    """The fields that are not None, as JSON. Raises InvalidRequest naming the field."""
    given = {name: _plain(value) for name, value in fields.items() if value is not None}
    try:
        text = orjson.dumps(given, option=PAYLOAD_OPTIONS)
    except TypeError as error:
        raise InvalidRequest(f"not JSON: {error}") from None
    try:
        model.model_validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(first_problem(error)) from None
    return text


def wire_ids(ids: Iterable[object]) -> list[orjson.Fragment]:
    """Raises InvalidRequest naming the first that is no id."""
    checked: list[orjson.Fragment] = []
    for index, id_ in enumerate(ids):
        try:
            checked.append(orjson.Fragment(id_json(id_)))
        except ValueError as error:
            raise InvalidRequest(f"ids[{index}]: {str(error).removeprefix('id: ')}") from None
    return checked


def vector_text(vector: object) -> str:
    """Raises InvalidRequest."""
    try:
        array = flat_array(vector)
        if not array.size:
            raise ValueError("empty")
        require_finite(array)
    except ValueError as error:
        raise InvalidRequest(f"vector: {error}") from None
    return to_base64(array)


def first_problem(error: ValidationError) -> str:
    """One line, the field first. Of a union's complaints the deepest one is about the form that was meant."""
    problem = max(error.errors(include_url=False, include_input=False), key=lambda e: len(e["loc"]))
    # In brackets stands which arm of a union was tried: pydantic's word, not the caller's.
    place = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("("))
    text = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {text}" if place and not text.startswith(place) else text


def _plain(value: Any) -> Any:
    if isinstance(value, Filter):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value
