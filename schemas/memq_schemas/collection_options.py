"""Options of a collection as a whole, in the grammar of Qdrant's REST API."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue

from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.model import Input
from memq_schemas.vector_params import HnswConfig, NamedSparse, Positive, Quantization, Whole
from memq_schemas.vectors import VectorName

_MOST_METADATA = 1000  # keys


class OptimizersConfig(Input):
    deleted_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    vacuum_min_vector_number: Annotated[int, Field(ge=100, le=2**53)] | None = None
    default_segment_number: Whole | None = None
    max_segment_size: Annotated[Whole | None, Field(description="in kilobytes of vectors")] = None
    memmap_threshold: Annotated[Whole | None, Field(description="in kilobytes of vectors")] = None
    indexing_threshold: Annotated[
        Whole | None, Field(description="in kilobytes of vectors; 0 for no index, which also stops building one")
    ] = None
    flush_interval_sec: Whole | None = None
    max_optimization_threads: Annotated[
        Whole | Literal["auto"] | None, Field(description="for one shard; 0 stops optimization")
    ] = None
    prevent_unoptimized: bool | None = None


class WalConfig(Input):
    wal_capacity_mb: Annotated[int, Field(ge=1, le=2**53)] | None = None
    wal_segments_ahead: Whole | None = None
    wal_retain_closed: Whole | None = None


class StrictMultivector(Input):
    max_vectors: Whole | None = None


class StrictSparse(Input):
    max_length: Whole | None = None


class StrictMode(Input):
    """Limits that Qdrant puts on the requests to a collection."""

    enabled: bool | None = None
    max_query_limit: Positive | None = None
    max_timeout: Annotated[Positive | None, Field(description="in seconds")] = None
    unindexed_filtering_retrieve: bool | None = None
    unindexed_filtering_update: bool | None = None
    search_max_hnsw_ef: Positive | None = None
    search_allow_exact: bool | None = None
    search_max_oversampling: Annotated[float, Field(ge=0, le=1e9)] | None = None
    upsert_max_batchsize: Whole | None = None
    search_max_batchsize: Whole | None = None
    max_collection_vector_size_bytes: Whole | None = None
    max_collection_payload_size_bytes: Whole | None = None
    max_points_count: Whole | None = None
    read_rate_limit: Annotated[Positive | None, Field(description="operations a minute of one replica")] = None
    write_rate_limit: Annotated[Positive | None, Field(description="operations a minute of one replica")] = None
    filter_max_conditions: Whole | None = None
    condition_max_size: Whole | None = None
    max_payload_index_count: Whole | None = None
    max_resident_memory_percent: Annotated[int, Field(ge=1, le=100)] | None = None
    multivector_config: (
        Annotated[dict[VectorName, StrictMultivector], Field(max_length=MAX_NAMED_VECTORS, description="by name")]
        | None
    ) = None
    sparse_config: (
        Annotated[dict[VectorName, StrictSparse], Field(max_length=MAX_NAMED_VECTORS, description="by name")] | None
    ) = None


def _check_keys(metadata: dict[str, Any]) -> dict[str, Any]:
    if "" in metadata:
        raise ValueError("a key has 1 character or more")
    return metadata


Metadata = Annotated[
    dict[str, JsonValue],
    AfterValidator(_check_keys),
    Field(
        max_length=_MOST_METADATA,
        description="JSON of any kind about the collection",
        json_schema_extra={"propertyNames": {"minLength": 1}},
    ),
]


class CollectionOptions(Input):
    """Options that a collection is created with, and that can be changed afterwards."""

    sparse_vectors: NamedSparse | None = None
    hnsw_config: HnswConfig | None = None
    optimizers_config: OptimizersConfig | None = None
    on_disk_payload: bool | None = None
    replication_factor: Positive | None = None
    write_consistency_factor: Positive | None = None
    strict_mode_config: StrictMode | None = None
    metadata: Metadata | None = None


class CreationOptions(CollectionOptions):
    """Options that a collection is created with."""

    quantization_config: Quantization | None = None
    wal_config: WalConfig | None = None
    shard_number: Positive | None = None
    sharding_method: Literal["auto", "custom"] | None = None
