from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag
from pydantic.config import JsonDict

from memq_schemas.conditions import DateTime, Integer, Key
from memq_schemas.limits import MAX_KEY
from memq_schemas.model import Input, by_type

StartFrom = Annotated[
    Annotated[Integer, Tag("(integer)")] | Annotated[float, Tag("(number)")] | Annotated[DateTime, Tag("(date-time)")],
    by_type(
        "a number or an RFC 3339 date-time", {bool: "(none)", int: "(integer)", float: "(number)", str: "(date-time)"}
    ),
]


class OrderBy(Input):
    """Order by the values of a payload key, which needs an index for ranges: integer, float or datetime."""

    key: Key
    direction: Literal["asc", "desc"] = "asc"
    start_from: StartFrom | None = None


def _by_key(value: object) -> Any:
    return {"key": value} if isinstance(value, str) else value


def _key_or_object(schema: JsonDict) -> None:
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [whole, {"type": "string", "minLength": 1, "maxLength": MAX_KEY}]


# As in Qdrant's REST API, a key alone means ascending order.
Order = Annotated[OrderBy, BeforeValidator(_by_key), Field(json_schema_extra=_key_or_object)]
