from typing import Annotated

from pydantic import Field

from memq_schemas.filters import Filter
from memq_schemas.ids import PointId
from memq_schemas.model import Model
from memq_schemas.points import Payload
from memq_schemas.vectors import DenseVector

MAX_OFFSET = 2**31 - 1  # the store keeps as many candidates: memory ends long before

WithPayload = Annotated[bool | list[str], Field(description="all of the payload, none of it, or just these keys")]


class Query(Model):
    """Body of `query.<collection>`: the points nearest to a vector, best first."""

    vector: DenseVector
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    score_threshold: float | None = None
    filter: Filter | None = None
    with_payload: WithPayload = True
    with_vector: bool = False
    using: Annotated[str | None, Field(description="name of the vector, where the collection has named vectors")] = None


class Get(Model):
    """Body of `get.<collection>`. Missing ids are left out of the result."""

    ids: Annotated[list[PointId], Field(min_length=1, max_length=10_000)]
    with_payload: WithPayload = True
    with_vector: bool = False


class Count(Model):
    """Body of `count.<collection>`: an exact count."""

    filter: Filter | None = None


class Record(Model):
    """One point in the result of `get`. Fields that were not asked for are absent."""

    id: PointId
    payload: Payload | None = None
    vector: list[float] | dict[str, list[float]] | None = None
    version: Annotated[
        int | None, Field(description="as it was upserted; absent where there is none or the payload was not asked for")
    ] = None


class ScoredPoint(Record):
    """One point in the result of `query`. The score is the collection's distance function, as Qdrant gives it."""

    score: float


class Counted(Model):
    count: Annotated[int, Field(ge=0)]
