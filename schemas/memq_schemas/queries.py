from typing import Annotated, Literal

from pydantic import Field, Tag

from memq_schemas.conditions import Key
from memq_schemas.filters import WholeFilter
from memq_schemas.ids import PointId
from memq_schemas.limits import MAX_IDS, MAX_KEYS
from memq_schemas.model import Input, Model, by_type
from memq_schemas.points import Payload
from memq_schemas.vectors import DenseVector, VectorName

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


class Query(Input):
    """Body of `query.<collection>`: the points nearest to a vector, best first."""

    vector: DenseVector
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    score_threshold: float | None = None
    filter: WholeFilter | None = None
    with_payload: WithPayload = True
    with_vector: WithVector = False
    using: Annotated[
        VectorName | None, Field(description="name of the vector, where the collection has named vectors")
    ] = None


class Get(Input):
    """Body of `get.<collection>`. Missing ids are left out of the result."""

    ids: Annotated[list[PointId], Field(fail_fast=True, min_length=1, max_length=MAX_IDS)]
    with_payload: WithPayload = True
    with_vector: WithVector = False


class Count(Input):
    """Body of `count.<collection>`."""

    filter: WholeFilter | None = None
    exact: Annotated[bool, Field(description="false for an estimate, which takes less time")] = True


class StoredSparseVector(Model):
    indices: list[int] | str
    values: list[float] | str


StoredVector = Annotated[
    list[float] | str | list[list[float]] | list[str] | StoredSparseVector,
    Field(description="numbers or base64; rows of them for a multivector; indices and values for a sparse vector"),
]


class Record(Model):
    """One point in the result of `get`. Fields that were not asked for are absent."""

    id: PointId
    payload: Payload | None = None
    vector: Annotated[
        StoredVector | dict[str, StoredVector] | None, Field(description="an object by name where vectors have names")
    ] = None
    version: Annotated[
        int | None, Field(description="as it was upserted; absent where there is none or the payload was not asked for")
    ] = None


class ScoredPoint(Record):
    """One point in the result of `query`. The score is the collection's distance function, as Qdrant gives it."""

    score: float


class Counted(Model):
    count: Annotated[int, Field(ge=0)]
