import math
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    SkipValidation,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from memq_schemas.conditions import Key
from memq_schemas.filters import WholeFilter
from memq_schemas.ids import PointId, StoredId
from memq_schemas.limits import MAX_IDS, MAX_KEYS, MAX_QUERIES
from memq_schemas.model import Input, Model, by_type, given
from memq_schemas.point_vectors import OneVector
from memq_schemas.replies import ErrorDetail, Status
from memq_schemas.searches import LookupFrom, Params, Prefetches, QueryKind, check_prefetches
from memq_schemas.vectors import VectorName, to_array, to_numbers

MAX_OFFSET = 2**31 - 1  # the store keeps as many candidates: memory ends long before

_Keys = Annotated[list[Key], Field(fail_fast=True, max_length=MAX_KEYS)]

WithPayload = Annotated[
    Annotated[bool, Tag("(all)")] | Annotated[_Keys, Tag("(keys)")],
    by_type("true, false or a list of keys", {bool: "(all)", list: "(keys)"}),
    Field(description="all of the payload, none of it, or just these keys"),
]


WithVector = Annotated[
    bool | Literal["base64"],
    Field(description="false, true for numbers, or base64 for texts of little-endian float32: a third of the size"),
]


def _numbers(vector: Any) -> Any:
    return to_array(cast("list[float] | str", vector)) if isinstance(vector, list | str) else vector


class Query(Input):
    """Body of `query.<collection>`: the points nearest to a vector, best first."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", "vector", "query"))

    # Read as an array of shape (dimensions,) or (rows, dimensions), or as a SparseVector.
    vector: Annotated[
        OneVector | None,
        AfterValidator(_numbers),
        PlainSerializer(to_numbers),
        Field(description="short for `query`: a vector to search near"),
    ] = None
    query: Annotated[QueryKind | None, Field(description="any query of Qdrant's REST grammar")] = None
    prefetch: Prefetches | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    score_threshold: float | None = None
    filter: WholeFilter | None = None
    with_payload: WithPayload = True
    with_vector: WithVector = False
    using: Annotated[
        VectorName | None, Field(description="name of the vector, where the collection has named vectors")
    ] = None
    params: Params | None = None
    lookup_from: LookupFrom | None = None
    group_by: Annotated[Key | None, Field(description="a key whose values group the hits: `limit` groups")] = None
    group_size: Annotated[int, Field(ge=1, le=1_000, description="hits of a group at most")] = 3

    @model_validator(mode="after")
    def _one_query(self) -> "Query":
        if (self.vector is None) == (self.query is None):
            raise ValueError("vector: exactly one of vector and query is needed")
        check_prefetches(self.prefetch)
        return self


class Queries(Input):
    """Body of `queries.<collection>`: queries that are sent together and answered together, each by itself."""

    queries: Annotated[list[Query], Field(fail_fast=True, min_length=1, max_length=MAX_QUERIES)]


class Get(Input):
    """Body of `get.<collection>`. Missing ids are left out of the result."""

    ids: Annotated[list[PointId], Field(fail_fast=True, min_length=1, max_length=MAX_IDS)]
    with_payload: WithPayload = True
    with_vector: WithVector = False


class Count(Input):
    """Body of `count.<collection>`."""

    filter: WholeFilter | None = None
    exact: Annotated[bool, Field(description="false for an estimate, which takes less time")] = True


_FLOAT = core_schema.float_schema(allow_inf_nan=True)
# Only null costs a call of Python.
_NUMBER = core_schema.union_schema(
    [_FLOAT, core_schema.no_info_after_validator_function(lambda _: math.nan, core_schema.none_schema())],
    mode="left_to_right",
)
_NUMBERS = core_schema.list_schema(_NUMBER)


class _NanForNull:
    """Read null, which stands for NaN or an infinite number, as NaN: as a number, or in a list of numbers."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        if source is float:
            return _NUMBER
        # Most lists are of numbers alone, and read in half the time as such.
        return core_schema.union_schema([core_schema.list_schema(_FLOAT), _NUMBERS], mode="left_to_right")

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(_NUMBER if schema is _NUMBER else _NUMBERS)


_StoredNumber = Annotated[float, _NanForNull()]
_StoredNumbers = Annotated[list[float], _NanForNull()]


# Of what a parser has made of JSON nothing needs to be checked again.
StoredPayload = dict[str, SkipValidation[JsonValue]]


class StoredSparseVector(Model):
    indices: list[int] | str
    values: _StoredNumbers | str


StoredVector = Annotated[
    _StoredNumbers | str | list[_StoredNumbers] | list[str] | StoredSparseVector,
    Field(
        description="numbers or base64; rows of them for a multivector; indices and values for a sparse vector. "
        "A number is null where it is NaN or infinite, which JSON has no numbers for; base64 has it"
    ),
]


class Record(Model):
    """One point in the result of `get`. Fields that were not asked for are absent."""

    id: StoredId
    payload: StoredPayload | None = None
    vector: Annotated[
        StoredVector | dict[str, StoredVector] | None, Field(description="an object by name where vectors have names")
    ] = None
    version: Annotated[
        int | None, Field(description="as it was upserted; absent where there is none or the payload was not asked for")
    ] = None


class ScoredPoint(Record):
    """One point in the result of `query`. The score is the collection's distance function, as Qdrant gives it."""

    score: Annotated[
        _StoredNumber, Field(description="null where it is NaN or infinite, which JSON has no numbers for")
    ]
    order_value: Annotated[int | float | None, Field(description="with order_by; microseconds for a date")] = None
    group: Annotated[str | int | None, Field(description="with group_by: the value whose group it is in")] = None


class QueryResult(Model):
    """Answer to one query of `queries`: its points, or its own error."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", "result", "error"))

    status: Status
    result: list[ScoredPoint] | None = None
    error: ErrorDetail | None = None


class Counted(Model):
    count: Annotated[int, Field(ge=0)]
