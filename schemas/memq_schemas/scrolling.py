from typing import Annotated, Literal

from pydantic import Tag

from memq_schemas.conditions import DateTime, Integer, Key
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
