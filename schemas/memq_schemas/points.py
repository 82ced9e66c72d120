from typing import Annotated

from pydantic import Field, JsonValue, field_validator, model_validator

from memq_schemas.filters import Filter
from memq_schemas.ids import PointId
from memq_schemas.model import Model
from memq_schemas.vectors import Vector

VERSION_KEY = "_version"

# Qdrant compares ranges as IEEE doubles: above 2**53 two versions could look equal.
MAX_VERSION = 2**53 - 1

Payload = dict[str, JsonValue]
Version = Annotated[
    int,
    Field(ge=0, le=MAX_VERSION, description="last writer wins: a stored version as high or higher is left alone"),
]


def _without_reserved(payload: Payload | None) -> Payload | None:
    if payload and VERSION_KEY in payload:
        raise ValueError(f"the key {VERSION_KEY!r} is memq's own: give the point a version instead")
    return payload


class Point(Model):
    id: PointId
    vector: Vector
    payload: Payload | None = None
    version: Version | None = None

    _reserved = field_validator("payload")(_without_reserved)


class Upsert(Model):
    """Body of `upsert.<collection>`: insert the points, replacing those with the same ids."""

    points: Annotated[list[Point], Field(min_length=1)]


class Upserted(Model):
    upserted: Annotated[int, Field(ge=0, description="points of this message that the store has taken")]


class Selection(Model):
    """Which points: ids or a filter, never both; a filter without conditions would be the whole collection."""

    ids: Annotated[list[PointId], Field(min_length=1)] | None = None
    filter: Filter | None = None

    @model_validator(mode="after")
    def _one_selector(self) -> "Selection":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("exactly one of ids and filter is needed")
        if self.filter is not None and self.filter.is_empty:
            raise ValueError("filter: an empty filter would select every point of the collection")
        return self


class Delete(Selection):
    """Body of `delete.<collection>`."""


class Deleted(Model):
    deleted: Annotated[int | None, Field(description="ids in the message; null when a filter selected them")]


class SetPayload(Selection):
    """Body of `payload.<collection>`.

    `overwrite` replaces the whole payload, `set` merges keys, `unset` removes keys, in this order.
    """

    overwrite: Payload | None = None
    set: Payload | None = None
    unset: Annotated[list[str], Field(min_length=1)] | None = None

    _reserved = field_validator("overwrite", "set")(_without_reserved)

    @model_validator(mode="after")
    def _some_change(self) -> "SetPayload":
        if self.overwrite is None and self.set is None and self.unset is None:
            raise ValueError("at least one of overwrite, set and unset is needed")
        return self


class PayloadSet(Model):
    updated: Annotated[int | None, Field(description="ids in the message; null when a filter selected them")]
