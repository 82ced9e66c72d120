from typing import Any

import qdrant_edge as edge

from ..proto import messages
from ..refusal import invalid, invalid_field, unserved
from .vectors import DEFAULT, VectorContract

_MAX_NAME = 255
_MAX_SIZE = 65536
_FORBIDDEN = ("<", ">", ":", '"', "/", "\\", "|", "?", "*", "\0", "\x1f")
_DISTANCES = {
    1: edge.Distance.Cosine,
    2: edge.Distance.Euclid,
    3: edge.Distance.Dot,
    4: edge.Distance.Manhattan,
}
_DATATYPES = {
    1: edge.VectorStorageDatatype.Float32,
    2: edge.VectorStorageDatatype.Uint8,
    3: edge.VectorStorageDatatype.Float16,
}
# A collection without vectors is legal in Qdrant and not in the engine, so it gets one that no point has.
_PLACEHOLDER = "memq: none"
_UNSERVED = ("quantization_config", "sparse_vectors_config", "sharding_method")


def check_name(name: str) -> None:
    """The length rule, which every request obeys; refusing odd characters is for creation alone."""
    if not 1 <= len(name) <= _MAX_NAME:
        raise invalid_field("collection_name", f'value "{name}" invalid, must be from 1 to 255 characters')


def check_creation(request: Any) -> None:
    check_name(request.collection_name)
    bad = next((char for char in _FORBIDDEN if char in request.collection_name), None)
    if bad is not None:
        raise invalid_field("collection_name", f'collection name cannot contain "{bad}" char')
    for params in _vectors(request).values():
        _check_vector(params)
    for field in _UNSERVED:
        if request.HasField(field):
            raise unserved(f"A collection with {field}")
    if request.strict_mode_config.enabled:
        raise unserved("A collection in strict mode")


def _check_vector(params: Any) -> None:
    if not 1 <= params.size <= _MAX_SIZE:
        raise invalid_field("vectors_config.config.size", f"value {params.size} invalid, must be from 1 to {_MAX_SIZE}")
    if params.distance not in _DISTANCES:
        raise invalid("Malformed distance parameter: UnknownDistance")
    for field in ("multivector_config", "quantization_config"):
        if params.HasField(field):
            raise unserved(f"A vector with {field}")
    if params.datatype and params.datatype not in _DATATYPES:
        raise unserved(f"A vector of datatype {messages.Datatype.Name(params.datatype)}")


def _vectors(request: Any) -> dict[str, Any]:
    config = request.vectors_config
    match config.WhichOneof("config"):
        case "params":
            return {DEFAULT: config.params}
        case "params_map":
            return dict(config.params_map.map)
        case _:
            return {}


def vector_contract(request: Any) -> VectorContract:
    return VectorContract({name: params.size for name, params in _vectors(request).items()})


def edge_config(request: Any, search_threads: int) -> edge.EdgeConfig:
    vectors = {name: _edge_vector(params) for name, params in _vectors(request).items()}
    return edge.EdgeConfig(
        vectors=vectors,
        sparse_vectors=None if vectors else {_PLACEHOLDER: edge.EdgeSparseVectorParams()},
        hnsw_config=_edge_hnsw(request),
        on_disk_payload=request.on_disk_payload if request.HasField("on_disk_payload") else None,
        max_search_threads=search_threads,
    )


def _edge_vector(params: Any) -> edge.EdgeVectorParams:
    return edge.EdgeVectorParams(
        params.size,
        _DISTANCES[params.distance],
        on_disk=params.on_disk if params.HasField("on_disk") else None,
        datatype=_DATATYPES.get(params.datatype),
        hnsw_config=_edge_hnsw(params),
    )


def _edge_hnsw(owner: Any) -> edge.HnswIndexConfig | None:
    if not owner.HasField("hnsw_config"):
        return None
    hnsw = _with_defaults(messages.HnswConfigDiff(**_HNSW), owner.hnsw_config)
    return edge.HnswIndexConfig(
        m=hnsw.m,
        ef_construct=hnsw.ef_construct,
        full_scan_threshold=hnsw.full_scan_threshold,
        max_indexing_threads=hnsw.max_indexing_threads,
        payload_m=hnsw.payload_m if hnsw.HasField("payload_m") else None,
    )


_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
_OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": {"setting": 0},
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}


def _with_defaults(defaults: Any, given: Any) -> Any:
    defaults.MergeFrom(given)
    return defaults


def write_config(target: Any, request: Any) -> None:
    """What the collection was created with, over a server's defaults, which are the engine's too."""
    params = target.params
    params.shard_number = 1
    params.replication_factor = 1
    params.write_consistency_factor = 1
    params.on_disk_payload = request.on_disk_payload if request.HasField("on_disk_payload") else True
    if request.HasField("vectors_config"):
        params.vectors_config.CopyFrom(request.vectors_config)
    target.hnsw_config.CopyFrom(_with_defaults(messages.HnswConfigDiff(**_HNSW), request.hnsw_config))
    target.optimizer_config.CopyFrom(
        _with_defaults(messages.OptimizersConfigDiff(**_OPTIMIZERS), request.optimizers_config)
    )
    target.wal_config.CopyFrom(_with_defaults(messages.WalConfigDiff(**_WAL), request.wal_config))
    target.metadata.MergeFrom(request.metadata)
