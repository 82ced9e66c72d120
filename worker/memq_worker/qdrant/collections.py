from typing import Any

from qdrant_client import grpc

from memq_schemas import CreateCollection, Distance, ErrorCode, VectorParams
from memq_worker.errors import MessageError
from memq_worker.pipeline.store import Contract

_DISTANCES = {
    Distance.COSINE: grpc.Distance.Cosine,
    Distance.DOT: grpc.Distance.Dot,
    Distance.EUCLID: grpc.Distance.Euclid,
    Distance.MANHATTAN: grpc.Distance.Manhattan,
}
_NAMES = {number: distance for distance, number in _DISTANCES.items()}
_STATUS = {number: name.lower() for name, number in grpc.CollectionStatus.items()}


def create_request(collection: str, body: CreateCollection) -> Any:
    if body.vectors is None:
        config = grpc.VectorsConfig(params=_params(body.by_name()[""]))
    else:
        by_name = {name: _params(params) for name, params in body.vectors.items()}
        config = grpc.VectorsConfig(params_map=grpc.VectorParamsMap(map=by_name))
    return grpc.CreateCollection(collection_name=collection, vectors_config=config)


def _params(params: VectorParams) -> Any:
    return grpc.VectorParams(size=params.size, distance=_DISTANCES[params.distance])


def vectors_of(info: Any) -> dict[str, VectorParams]:
    """Vectors by name out of a CollectionInfo; the unnamed one is ""."""
    config = info.config.params.vectors_config
    if config.WhichOneof("config") == "params_map":
        return {name: _read(params) for name, params in sorted(config.params_map.map.items())}
    # A collection without vectors has no config at all.
    return {"": _read(config.params)} if config.WhichOneof("config") == "params" else {}


def _read(params: Any) -> VectorParams:
    return VectorParams(size=params.size, distance=_NAMES[params.distance])


def contract_of(info: Any) -> Contract:
    return Contract({name: params.size for name, params in vectors_of(info).items()})


def most_per_query(info: Any) -> int | None:
    """The largest limit that strict mode allows a query or a scroll; None where it sets none."""
    strict = info.config.strict_mode_config
    return strict.max_query_limit or None if strict.enabled else None


def description(collection: str, info: Any) -> dict[str, Any]:
    return {
        "name": collection,
        "status": _STATUS.get(info.status, "grey"),
        "points": info.points_count,
        "vectors": {
            name: {"size": params.size, "distance": params.distance.value} for name, params in vectors_of(info).items()
        },
    }


def check_same(collection: str, wanted: CreateCollection, info: Any) -> None:
    """Raises MessageError when the collection that is there takes other vectors than `wanted`."""
    there = vectors_of(info)
    if there != wanted.by_name():
        shown = ", ".join(f"{name or 'unnamed'}: {p.size} {p.distance.value}" for name, p in there.items())
        raise MessageError(
            ErrorCode.COLLECTION_EXISTS,
            f"collection {collection!r} exists with other vectors ({shown})",
            stage="answer",
        )
