import re
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.config import JsonDict

from memq_schemas.conditions import Key
from memq_schemas.filters import Filter
from memq_schemas.ids import PointId
from memq_schemas.model import Model, given
from memq_schemas.vectors import Vector

VERSION_KEY = "_version"

# Qdrant compares ranges as IEEE doubles: above 2**53 two versions could look equal.
MAX_VERSION = 2**53 - 1

Version = Annotated[
    int,
    Field(ge=0, le=MAX_VERSION, description="last writer wins: a stored version as high or higher is left alone"),
]


Payload = dict[str, JsonValue]


# A path may be quoted, or go on below the key.
_RESERVED_PATH = re.compile(rf'"?{VERSION_KEY}"?(\.|\[|\Z)')


def _without_reserved(payload: Payload) -> Payload:
    if VERSION_KEY in payload:
        raise ValueError(f"the key {VERSION_KEY!r} is memq's own: give the point a version instead")
    return payload


def _not_reserved(key: str) -> str:
    if _RESERVED_PATH.match(key):
        raise ValueError(f"the key {VERSION_KEY!r} is memq's own")
    return key


NewPayload = Annotated[
    Payload,
    AfterValidator(_without_reserved),
    Field(
        description="any JSON object: at most 16 levels deep, integers within 64 bits, signed",
        json_schema_extra={"propertyNames": {"not": {"const": VERSION_KEY}}},
    ),
]


class Point(Model):
    id: PointId
    vector: Vector
    payload: NewPayload | None = None
    version: Version | None = None


class Upsert(Model):
    """Body of `upsert.<collection>`: insert the points, replacing those with the same ids."""

    points: Annotated[list[Point], Field(min_length=1)]


class Upserted(Model):
    upserted: Annotated[
        int, Field(ge=0, description="points of this message that the store has taken, or has newer versions of")
    ]


class Selection(Model):
    """Which points: ids or a filter, never both; a filter without conditions would be the whole collection."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", "ids", "filter"))

    ids: Annotated[list[PointId], Field(min_length=1)] | None = None
    filter: Filter | None = None

    @model_validator(mode="after")
    def _one_selector(self) -> "Selection":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("exactly one of ids and filter is needed")
        if self.filter is not None and self.filter.is_empty:
            raise ValueError("filter: an empty filter would select every point of the collection")
        return self


def _delete_schema(schema: JsonDict) -> None:
    given("oneOf", "ids", "filter")(schema)
    # A version or a filter or neither, never both.
    schema["anyOf"] = [{"properties": {"version": {"type": "null"}}}, {"properties": {"filter": {"type": "null"}}}]


class Delete(Selection):
    """Body of `delete.<collection>`.

    With a `version` it deletes those of the `ids` that are stored without a version or with a lower one.
    """

    model_config = ConfigDict(json_schema_extra=_delete_schema)

    version: Annotated[
        int | None,
        Field(
            ge=0, le=MAX_VERSION, description="only with ids: a point stored with this version or a higher one stays"
        ),
    ] = None

    @model_validator(mode="after")
    def _version_of_ids(self) -> "Delete":
        if self.version is not None and self.ids is None:
            raise ValueError("version: only with ids, a filter cannot be compared by version")
        return self


class Deleted(Model):
    deleted: Annotated[
        int | None,
        Field(description="ids in the message, found or not; null when a filter selected them"),
    ]


def _change_schema(schema: JsonDict) -> None:
    given("oneOf", "ids", "filter")(schema)
    given("anyOf", "overwrite", "set", "unset")(schema)


class SetPayload(Selection):
    """Body of `payload.<collection>`.

    `overwrite` replaces the whole payload, `set` merges keys, `unset` removes keys, in this order. A point's version
    stays as it is: a change of some keys cannot be left out for being late without losing them.
    """

    model_config = ConfigDict(json_schema_extra=_change_schema)

    overwrite: NewPayload | None = None
    set: NewPayload | None = None
    unset: Annotated[list[Annotated[Key, AfterValidator(_not_reserved)]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _some_change(self) -> "SetPayload":
        if self.overwrite is None and self.set is None and self.unset is None:
            raise ValueError("at least one of overwrite, set and unset is needed")
        return self


class PayloadSet(Model):
    updated: Annotated[int | None, Field(description="ids in the message; null when a filter selected them")]
