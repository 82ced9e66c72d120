"""Configuration of the vectors of a collection, in the grammar of Qdrant's REST API."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.model import Input, given
from memq_schemas.vectors import MAX_DIMENSIONS, VectorName

Whole = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**32 - 1)]


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
Memory = Annotated[Literal["cold", "cached", "pinned"], Field(description="placement in memory; Qdrant 1.19 or later")]
Datatype = Literal["float32", "float16", "uint8", "turbo4", "turbo8", "turbo16"]


class HnswConfig(Input):
    m: Annotated[Whole | None, Field(description="edges of a node of the graph; 0 for no graph")] = None
    ef_construct: Annotated[int, Field(ge=4, le=2**53)] | None = None
    full_scan_threshold: Annotated[Whole | None, Field(description="in kilobytes of vectors")] = None
    max_indexing_threads: Whole | None = None
    on_disk: bool | None = None
    payload_m: Annotated[Whole | None, Field(description="like m, for the values of indexed payload keys")] = None
    inline_storage: bool | None = None
    memory: Memory | None = None


class ScalarQuantization(Input):
    type: Literal["int8"] = "int8"
    quantile: Annotated[float, Field(ge=0.5, le=1)] | None = None
    always_ram: bool | None = None
    memory: Memory | None = None


class ProductQuantization(Input):
    compression: Literal["x4", "x8", "x16", "x32", "x64"]
    always_ram: bool | None = None
    memory: Memory | None = None


class BinaryQuantization(Input):
    always_ram: bool | None = None
    encoding: Literal["one_bit", "two_bits", "one_and_half_bits"] | None = None
    query_encoding: Literal["default", "binary", "scalar4bits", "scalar8bits"] | None = None
    memory: Memory | None = None


class TurboQuantization(Input):
    always_ram: bool | None = None
    bits: Literal["bits1", "bits1_5", "bits2", "bits4", "bits8"] | None = None
    memory: Memory | None = None


_QUANTIZATIONS = ("scalar", "product", "binary", "turbo")


class Quantization(Input):
    """Exactly one kind of quantization."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", *_QUANTIZATIONS))

    scalar: ScalarQuantization | None = None
    product: ProductQuantization | None = None
    binary: BinaryQuantization | None = None
    turbo: TurboQuantization | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Quantization":
        if sum(getattr(self, name) is not None for name in _QUANTIZATIONS) != 1:
            raise ValueError(f"expected exactly one of {', '.join(_QUANTIZATIONS)}")
        return self


class MultivectorConfig(Input):
    """The score of a multivector: the sum over the query's rows of the best score among the point's rows."""

    comparator: Literal["max_sim"] = "max_sim"


class VectorParams(Input):
    """One dense vector of a point or, with `multivector_config`, a list of dense vectors."""

    size: Size
    distance: DistanceName = Distance.COSINE
    datatype: Datatype | None = None
    on_disk: bool | None = None
    memory: Memory | None = None
    multivector_config: MultivectorConfig | None = None
    hnsw_config: HnswConfig | None = None
    quantization_config: Quantization | None = None


class SparseIndex(Input):
    full_scan_threshold: Annotated[Whole | None, Field(description="in vectors")] = None
    on_disk: bool | None = None
    datatype: Literal["float32", "float16", "uint8"] | None = None
    memory: Memory | None = None


class SparseVectorParams(Input):
    """A sparse vector, which always has a name."""

    index: SparseIndex | None = None
    modifier: Annotated[
        Literal["none", "idf"] | None, Field(description="idf: weight by the rarity of each index in the collection")
    ] = None


def _check_sparse_name(name: str) -> str:
    if not name:
        raise ValueError("a sparse vector's name has 1 character or more")
    return name


SparseName = Annotated[VectorName, BeforeValidator(_check_sparse_name), Field(min_length=1)]
NamedVectors = Annotated[
    dict[VectorName, VectorParams],
    Field(min_length=1, max_length=MAX_NAMED_VECTORS, description='by name; the unnamed vector is ""'),
]
NamedSparse = Annotated[
    dict[SparseName, SparseVectorParams], Field(min_length=1, max_length=MAX_NAMED_VECTORS, description="by name")
]
