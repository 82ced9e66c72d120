import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.config import JsonDict

from memq_schemas.conditions import Key
from memq_schemas.filters import Filter, WholeFilter
from memq_schemas.ids import PointId
from memq_schemas.limits import MAX_KEYS
from memq_schemas.match_all import selects_all
from memq_schemas.model import Input, Model, given
from memq_schemas.point_vectors import Vector
from memq_schemas.size import null_condition

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


class Point(Input):
    id: PointId
    vector: Vector
    payload: NewPayload | None = None
    version: Version | None = None


Mode = Literal["upsert", "insert_only", "update_only"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Upsert(Input):
    """Body of `upsert.<collection>`: insert the points, replacing those with the same ids."""

    points: Annotated[list[Point], Field(fail_fast=True, min_length=1)]
    mode: Annotated[
        Mode,
        Field(description="insert_only leaves stored points alone; update_only replaces them and inserts none"),
    ] = "upsert"


class Upserted(Model):
    upserted: Annotated[
        int,
        Field(ge=0, description="points of this message, those included that a version or the mode left alone"),
    ]


def _without_null_conditions(value: object) -> object:
    if null_condition(value):
        raise ValueError("a condition whose fields are all null would select every point")
    return value


def _not_all(condition: Filter) -> Filter:
    if selects_all(condition):
        raise ValueError(
            "selects every point of the collection whatever is stored there; give a condition that limits it"
        )
    return condition


SelectedIds = Annotated[list[PointId], Field(fail_fast=True, min_length=1)]
SelectingFilter = Annotated[WholeFilter, BeforeValidator(_without_null_conditions), AfterValidator(_not_all)]


class Selection(Input):
    """Selection of points: ids or a filter, never both. A filter that selects every point is refused."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", "ids", "filter"))

    ids: SelectedIds | None = None
    filter: SelectingFilter | None = None

    @model_validator(mode="after")
    def _one_selector(self) -> "Selection":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("exactly one of ids and filter is needed")
        return self


def _delete_schema(schema: JsonDict) -> None:
    given("oneOf", "ids", "filter")(schema)
    # A version or a filter or neither, never both. Said as what must not be, generators of types leave it alone.
    both: dict[str, Any] = {name: {"not": {"type": "null"}} for name in ("filter", "version")}
    schema["not"] = {"required": list(both), "properties": both}


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
    given("anyOf", "overwrite", "clear", "set", "unset")(schema)
    some: JsonDict = {"not": {"type": "null"}}
    schema["not"] = {
        "anyOf": [
            {"required": ["clear", "overwrite"], "properties": {"clear": some, "overwrite": some}},
            {"required": ["key"], "properties": {"key": some, "set": {"type": "null"}}},
        ]
    }


class SetPayload(Selection):
    """Body of `payload.<collection>`.

    `overwrite` replaces the whole payload and `clear` empties it, `set` merges keys, `unset` removes keys, in this
    order. A point's version stays: a change of some keys cannot be left out for being late without losing them.
    """

    model_config = ConfigDict(json_schema_extra=_change_schema)

    overwrite: NewPayload | None = None
    clear: Annotated[Literal[True] | None, Field(description="true: remove all keys")] = None
    set: NewPayload | None = None
    key: Annotated[
        Annotated[Key, AfterValidator(_not_reserved)] | None,
        Field(description="a path: `set` merges its keys into the object there, which is made where there is none"),
    ] = None
    unset: (
        Annotated[
            list[Annotated[Key, AfterValidator(_not_reserved)]],
            Field(fail_fast=True, min_length=1, max_length=MAX_KEYS),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _some_change(self) -> "SetPayload":
        if self.overwrite is None and self.clear is None and self.set is None and self.unset is None:
            raise ValueError("at least one of overwrite, clear, set and unset is needed")
        if self.overwrite is not None and self.clear is not None:
            raise ValueError("clear: only without overwrite")
        if self.key is not None and self.set is None:
            raise ValueError("key: only with set")
        return self

    @property
    def whole(self) -> Payload | None:
        """Return the new payload as a whole; None where the rest of it stays."""
        return {} if self.clear else self.overwrite


class PayloadSet(Model):
    updated: Annotated[int | None, Field(description="ids in the message; null when a filter selected them")]
