"""Configuration of a collection, as the engine's config and as a server describes it."""

from typing import Any

import qdrant_edge as edge

from ..proto import messages
from .quantization import edge_quantization, memory_of
from .vectors import DEFAULT, VectorContract

DISTANCES = {
    1: edge.Distance.Cosine,
    2: edge.Distance.Euclid,
    3: edge.Distance.Dot,
    4: edge.Distance.Manhattan,
}
DATATYPES = {
    1: edge.VectorStorageDatatype.Float32,
    2: edge.VectorStorageDatatype.Uint8,
    3: edge.VectorStorageDatatype.Float16,
}
# A collection without vectors is legal in Qdrant and not in the engine, so it gets one that no point has.
_PLACEHOLDER = "memq: none"


def vectors_of(request: Any) -> dict[str, Any]:
    """Params of the dense vectors and multivectors, by name."""
    config = request.vectors_config
    match config.WhichOneof("config"):
        case "params":
            return {DEFAULT: config.params}
        case "params_map":
            return dict(config.params_map.map)
        case _:
            return {}


def sparse_of(request: Any) -> dict[str, Any]:
    """Params of the sparse vectors, by name."""
    return dict(request.sparse_vectors_config.map)


def is_least_nearest(request: Any, name: str) -> bool:
    """Return True if the least distance between vectors of this name is the best."""
    params = vectors_of(request).get(name)
    return params is not None and DISTANCES[params.distance] in (edge.Distance.Euclid, edge.Distance.Manhattan)


def vector_contract(request: Any) -> VectorContract:
    vectors = vectors_of(request)
    multi = {name for name, params in vectors.items() if params.HasField("multivector_config")}
    return VectorContract({name: params.size for name, params in vectors.items()}, multi, sparse_of(request))


def edge_config(request: Any, search_threads: int) -> edge.EdgeConfig:
    vectors = {name: _edge_vector(params) for name, params in vectors_of(request).items()}
    sparse = {name: _edge_sparse(params) for name, params in sparse_of(request).items()}
    if not vectors and not sparse:
        sparse = {_PLACEHOLDER: edge.EdgeSparseVectorParams()}
    return edge.EdgeConfig(
        vectors=vectors,
        sparse_vectors=sparse or None,
        hnsw_config=_edge_hnsw(request),
        quantization_config=edge_quantization(request),
        optimizers=_edge_optimizers(request),
        on_disk_payload=request.on_disk_payload if request.HasField("on_disk_payload") else None,
        max_search_threads=search_threads,
    )


def _edge_vector(params: Any) -> edge.EdgeVectorParams:
    multi = params.HasField("multivector_config")
    return edge.EdgeVectorParams(
        params.size,
        DISTANCES[params.distance],
        on_disk=params.on_disk if params.HasField("on_disk") else None,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if multi else None,
        datatype=DATATYPES.get(params.datatype),
        quantization_config=edge_quantization(params),
        hnsw_config=_edge_hnsw(params),
        memory=memory_of(params),
    )


def _edge_sparse(params: Any) -> edge.EdgeSparseVectorParams:
    index = params.index
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.full_scan_threshold if index.HasField("full_scan_threshold") else None,
        on_disk=index.on_disk if index.HasField("on_disk") else None,
        modifier=edge.Modifier.Idf if params.modifier == messages.Modifier.Value("Idf") else None,
        datatype=DATATYPES.get(index.datatype),
        memory=memory_of(index),
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
        on_disk=hnsw.on_disk,
        memory=memory_of(hnsw),
    )


_EDGE_OPTIMIZERS = (
    "deleted_threshold", "vacuum_min_vector_number", "default_segment_number", "max_segment_size", "indexing_threshold",
)  # fmt: skip


def _edge_optimizers(request: Any) -> edge.EdgeOptimizersConfig | None:
    if not request.HasField("optimizers_config"):
        return None
    given = request.optimizers_config
    return edge.EdgeOptimizersConfig(
        **{name: getattr(given, name) for name in _EDGE_OPTIMIZERS if given.HasField(name)}
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
    """Describe what the collection was created and updated with, over defaults that server and engine share."""
    params = target.params
    for field, default in (
        ("shard_number", 1),
        ("replication_factor", 1),
        ("write_consistency_factor", 1),
        ("on_disk_payload", True),
    ):
        setattr(params, field, getattr(request, field) if request.HasField(field) else default)
    if request.HasField("vectors_config"):
        params.vectors_config.CopyFrom(request.vectors_config)
    if request.HasField("sparse_vectors_config"):
        params.sparse_vectors_config.CopyFrom(request.sparse_vectors_config)
    target.hnsw_config.CopyFrom(_with_defaults(messages.HnswConfigDiff(**_HNSW), request.hnsw_config))
    target.optimizer_config.CopyFrom(
        _with_defaults(messages.OptimizersConfigDiff(**_OPTIMIZERS), request.optimizers_config)
    )
    target.wal_config.CopyFrom(_with_defaults(messages.WalConfigDiff(**_WAL), request.wal_config))
    if request.HasField("quantization_config"):
        target.quantization_config.CopyFrom(request.quantization_config)
    if request.HasField("strict_mode_config"):
        target.strict_mode_config.CopyFrom(request.strict_mode_config)
    target.metadata.MergeFrom(request.metadata)
