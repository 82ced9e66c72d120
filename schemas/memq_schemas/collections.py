from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.model import Input, Model, given
from memq_schemas.vectors import MAX_DIMENSIONS, VectorName


class Distance(StrEnum):
    COSINE = "cosine"
    DOT = "dot"
    EUCLID = "euclid"
    MANHATTAN = "manhattan"


def _distance(value: object) -> object:
    # Strict mode takes enum members only; on the wire it is their text, and Qdrant's REST API spells it "Cosine".
    if isinstance(value, str):
        try:
            return Distance(value.lower())
        except ValueError:
            raise ValueError(f"expected one of {', '.join(Distance)}") from None
    return value


Size = Annotated[int, Field(ge=1, le=MAX_DIMENSIONS, description="dimensions")]
DistanceName = Annotated[Distance, BeforeValidator(_distance), Field(description="read in any case: Cosine is cosine")]


class VectorParams(Input):
    size: Size
    distance: DistanceName = Distance.COSINE


class CreateCollection(Input):
    """Body of `collections.create.<collection>`: `size` for one unnamed vector a point, `vectors` for named ones."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", "size", "vectors"))

    size: Size | None = None
    distance: DistanceName = Distance.COSINE
    vectors: Annotated[dict[VectorName, VectorParams], Field(min_length=1, max_length=MAX_NAMED_VECTORS)] | None = None
    exist_ok: Annotated[
        bool, Field(description="an existing collection with the same vectors is success; with others it stays a 409")
    ] = False

    @model_validator(mode="after")
    def _one_form(self) -> "CreateCollection":
        if (self.size is None) == (self.vectors is None):
            raise ValueError("exactly one of size and vectors is needed")
        return self

    def by_name(self) -> dict[str, VectorParams]:
        """The vectors by name; the unnamed one is named ""."""
        if self.vectors is not None:
            return dict(self.vectors)
        assert self.size is not None
        return {"": VectorParams(size=self.size, distance=self.distance)}


class Created(Model):
    created: Annotated[bool, Field(description="false when it was there already and exist_ok was given")]


class Empty(Input):
    """Body of the operations that need none: `{}` or nothing at all."""


class CollectionNames(Model):
    collections: list[str]


class CollectionDescription(Model):
    name: str
    status: Annotated[str, Field(description="green, yellow, grey or red, as Qdrant says")]
    points: Annotated[int, Field(ge=0, description="approximate while the store is optimising")]
    vectors: Annotated[dict[str, VectorParams], Field(description='by name; the unnamed vector is ""')]


class CollectionDeleted(Model):
    deleted: Annotated[bool, Field(description="false when there was no such collection")]
