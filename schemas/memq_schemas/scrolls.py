from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from memq_schemas.filters import WholeFilter
from memq_schemas.ids import PointId
from memq_schemas.limits import MAX_IDS
from memq_schemas.model import Input, Model
from memq_schemas.queries import Record, WithPayload, WithVector
from memq_schemas.scrolling import Order


def _scroll_schema(schema: JsonDict) -> None:
    schema["anyOf"] = [
        {"properties": {"offset": {"type": "null"}}},
        {"properties": {"order_by": {"type": "null"}}},
    ]


class Scroll(Input):
    """Body of `scroll.<collection>`: a page of the points, ordered by id or by a payload key."""

    model_config = ConfigDict(json_schema_extra=_scroll_schema)

    limit: Annotated[
        int,
        Field(ge=1, le=MAX_IDS, description="points of the page, which also ends where its reply would be too large"),
    ] = 100
    offset: Annotated[PointId | None, Field(description="`next` of the page before; left out for the first one")] = None
    filter: WholeFilter | None = None
    order_by: Order | None = None
    with_payload: WithPayload = True
    with_vector: WithVector = False

    @model_validator(mode="after")
    def _one_order(self) -> "Scroll":
        if self.offset is not None and self.order_by is not None:
            raise ValueError("offset: only without order_by; page by order_by.start_from and a filter instead")
        return self


class OrderedRecord(Record):
    """One point of a page. `order_value` is the value it was ordered by; for a date, microseconds since 1970."""

    order_value: int | float | None = None


class Page(Model):
    points: list[OrderedRecord]
    next: Annotated[
        PointId | None, Field(description="`offset` of the next page; null at the end, and always with order_by")
    ] = None
