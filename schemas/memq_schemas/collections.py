from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.config import JsonDict

from memq_schemas.collection_options import (
    CollectionOptions,
    CreationOptions,
    OptimizersConfig,
    StrictMode,
    WalConfig,
)
from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.model import Input, Model, given
from memq_schemas.vector_params import (
    Distance,
    DistanceName,
    HnswConfig,
    Memory,
    NamedVectors,
    Positive,
    Quantization,
    Size,
    SparseVectorParams,
    VectorParams,
    Whole,
)
from memq_schemas.vectors import VectorName

Disabled = Annotated[Literal["disabled", "Disabled"], Field(description="removes the quantization")]


def _vectors_schema(schema: JsonDict) -> None:
    null: JsonDict = {"type": "null"}
    some: JsonDict = {"not": null}
    alone: list[Any] = [
        {"required": ["size"], "properties": {"size": some, "vectors": null}},
        {"required": ["vectors"], "properties": {"vectors": some, "size": null}},
        {"required": ["sparse_vectors"], "properties": {"sparse_vectors": some, "size": null, "vectors": null}},
    ]
    schema["oneOf"] = alone


class CreateCollection(CreationOptions):
    """Body of `collections.create.<collection>`: `size` for one unnamed vector a point, `vectors` for named ones, and
    `sparse_vectors` with either or alone. The options are those of Qdrant's REST API."""

    model_config = ConfigDict(json_schema_extra=_vectors_schema)

    size: Size | None = None
    distance: DistanceName = Distance.COSINE
    vectors: NamedVectors | None = None
    exist_ok: Annotated[
        bool,
        Field(description="an existing collection that has everything said here is success; any other stays a 409"),
    ] = False

    @model_validator(mode="after")
    def _one_form(self) -> "CreateCollection":
        if self.size is not None and self.vectors is not None:
            raise ValueError('vectors: only without size; the unnamed vector is named "" there')
        if self.size is None and self.vectors is None and self.sparse_vectors is None:
            raise ValueError("one of size, vectors and sparse_vectors is needed")
        for name in self.sparse_vectors or {}:
            if name in self.by_name():
                raise ValueError(f"sparse_vectors: {name!r} is the name of a dense vector already")
        return self

    def by_name(self) -> dict[str, VectorParams]:
        """The dense vectors and multivectors by name; the unnamed one is named ""."""
        if self.size is not None:
            return {"": VectorParams(size=self.size, distance=self.distance)}
        return dict(self.vectors or {})


class VectorChange(Input):
    """New options of one dense vector or multivector. Its size, distance and datatype cannot change."""

    hnsw_config: HnswConfig | None = None
    quantization_config: Quantization | Disabled | None = None
    on_disk: bool | None = None
    memory: Memory | None = None


_CHANGES = (
    "vectors",
    "sparse_vectors",
    "hnsw_config",
    "quantization_config",
    "optimizers_config",
    "strict_mode_config",
    "metadata",
    "replication_factor",
    "write_consistency_factor",
    "read_fan_out_factor",
    "read_fan_out_delay_ms",
    "on_disk_payload",
)


class UpdateCollection(CollectionOptions):
    """Body of `collections.update.<collection>`: options that Qdrant can change. Those left out stay as they are;
    `metadata` and `strict_mode_config` are changed key by key, and null as a value of `metadata` removes its key."""

    model_config = ConfigDict(json_schema_extra=given("anyOf", *_CHANGES))

    vectors: (
        Annotated[
            dict[VectorName, VectorChange],
            Field(min_length=1, max_length=MAX_NAMED_VECTORS, description='by name; the unnamed vector is ""'),
        ]
        | None
    ) = None
    quantization_config: Quantization | Disabled | None = None
    read_fan_out_factor: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    read_fan_out_delay_ms: Whole | None = None

    @model_validator(mode="after")
    def _something(self) -> "UpdateCollection":
        if all(getattr(self, name) is None for name in _CHANGES):
            raise ValueError(f"expected at least one of {', '.join(_CHANGES)}")
        return self


class Created(Model):
    created: Annotated[bool, Field(description="false when it was there already and exist_ok was given")]


class CollectionUpdated(Model):
    updated: Annotated[bool, Field(description="true: the store has the options; rebuilding an index may take longer")]


class Empty(Input):
    """Body of the operations that need none: `{}` or nothing at all."""


class CollectionNames(Model):
    collections: list[str]


class PayloadIndex(Model):
    type: Annotated[str, Field(description="as in `index.create`")]
    points: Annotated[int, Field(ge=0, description="points that the index holds so far")]
    options: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue], description="the options that it was created with"
    )


class UpdateQueue(Model):
    length: Annotated[int, Field(ge=0, description="operations that the store has accepted and not yet applied")]
    deferred_points: Annotated[int | None, Field(description="points left out of queries until optimized")] = None


class CollectionDescription(Model):
    """A collection as the store has it. An option that is null has no value of its own, or this store has none such."""

    name: str
    status: Annotated[str, Field(description="green, yellow, grey or red, as Qdrant says")]
    points: Annotated[int, Field(ge=0, description="approximate while the store is optimising")]
    vectors: Annotated[dict[str, VectorParams], Field(description='by name; the unnamed vector is ""')]
    sparse_vectors: dict[str, SparseVectorParams] = Field(default_factory=dict[str, SparseVectorParams])
    indexed_vectors: Annotated[
        int,
        Field(ge=0, description="vectors in an HNSW graph or a sparse index, approximately; small segments have none"),
    ] = 0
    segments: Annotated[int, Field(ge=0)] = 0
    optimizer: Annotated[str, Field(description="ok, or the error that stopped it")] = "ok"
    indexes: dict[str, PayloadIndex] = Field(default_factory=dict[str, PayloadIndex], description="by payload key")
    aliases: Annotated[list[str] | None, Field(description="null where the store's key may not list them")] = None
    update_queue: UpdateQueue | None = None
    warnings: list[str] = Field(default_factory=list[str])
    hnsw_config: HnswConfig | None = None
    optimizers_config: OptimizersConfig | None = None
    wal_config: WalConfig | None = None
    quantization_config: Quantization | None = None
    strict_mode_config: StrictMode | None = None
    metadata: dict[str, JsonValue] | None = None
    on_disk_payload: bool | None = None
    shard_number: int | None = None
    sharding_method: str | None = None
    replication_factor: Positive | None = None
    write_consistency_factor: Positive | None = None
    read_fan_out_factor: int | None = None
    read_fan_out_delay_ms: int | None = None


class CollectionDeleted(Model):
    deleted: Annotated[bool, Field(description="false when there was no such collection")]
