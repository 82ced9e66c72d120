from collections.abc import Iterable, Mapping
from typing import Any

from memq_qdrant import grpc
from memq_schemas import CreateCollection, UpdateCollection
from memq_worker.pipeline.store import Contract
from memq_worker.qdrant.configs import fill, read
from memq_worker.qdrant.values import from_values, to_values

# Wire options, and the fields of Qdrant's messages that hold them.
_CREATED = (
    ("hnsw_config", "hnsw_config"),
    ("optimizers_config", "optimizers_config"),
    ("wal_config", "wal_config"),
    ("quantization_config", "quantization_config"),
    ("strict_mode_config", "strict_mode_config"),
    ("sparse_vectors", "sparse_vectors_config"),
)
_UPDATED = tuple(each for each in _CREATED if each[0] != "wal_config")
_CREATED_FIELDS = ("on_disk_payload", "shard_number", "replication_factor", "write_consistency_factor")
_UPDATED_PARAMS = (
    "on_disk_payload",
    "replication_factor",
    "write_consistency_factor",
    "read_fan_out_factor",
    "read_fan_out_delay_ms",
)
_STATUS = {number: name.lower() for name, number in grpc.CollectionStatus.items()}


def create_request(collection: str, body: CreateCollection) -> Any:
    request = grpc.CreateCollection(collection_name=collection)
    fields = body.model_dump(mode="json", exclude_none=True)
    vectors = {name: params.model_dump(mode="json", exclude_none=True) for name, params in body.by_name().items()}
    if list(vectors) == [""]:
        fill(request.vectors_config.params, vectors[""])
    elif vectors:
        fill(request.vectors_config.params_map, vectors)
    _fill_options(request, fields, _CREATED)
    for name in _CREATED_FIELDS:
        if name in fields:
            setattr(request, name, fields[name])
    if body.sharding_method is not None:
        request.sharding_method = grpc.ShardingMethod.Value(body.sharding_method.capitalize())
    _fill_metadata(request, body.metadata)
    return request


def update_request(collection: str, body: UpdateCollection) -> Any:
    request = grpc.UpdateCollection(collection_name=collection)
    fields = body.model_dump(mode="json", exclude_none=True)
    vectors = fields.get("vectors")
    if vectors is not None and list(vectors) == [""]:
        request.vectors_config.params.SetInParent()
        fill(request.vectors_config.params, vectors[""])
    elif vectors is not None:
        fill(request.vectors_config.params_map, vectors)
    _fill_options(request, fields, _UPDATED)
    for name in _UPDATED_PARAMS:
        if name in fields:
            setattr(request.params, name, fields[name])
    _fill_metadata(request, body.metadata)
    return request


def _fill_options(request: Any, given: Mapping[str, Any], fields: Iterable[tuple[str, str]]) -> None:
    """Fill the messages of options that are given. fields: names in the body, with those in the request."""
    for option, field in fields:
        if option in given:
            getattr(request, field).SetInParent()
            fill(getattr(request, field), given[option])


def _fill_metadata(request: Any, metadata: dict[str, Any] | None) -> None:
    request.MergeFrom(type(request)(metadata=to_values(metadata or {})))


def _vectors(config: Any) -> dict[str, dict[str, Any]]:
    """Return the params of dense vectors and multivectors by name, in the wire form; the unnamed one is ""."""
    if config.WhichOneof("config") == "params_map":
        return read(config.params_map)
    # A collection without dense vectors has no config at all.
    return {"": read(config.params)} if config.WhichOneof("config") == "params" else {}


def contract_of(info: Any) -> Contract:
    config = info.config.params
    dense = _vectors(config.vectors_config)
    return Contract(
        {name: params["size"] for name, params in dense.items()},
        frozenset(name for name, params in dense.items() if "multivector_config" in params),
        frozenset(config.sparse_vectors_config.map),
    )


def most_per_query(info: Any) -> int | None:
    """The largest limit that strict mode allows a query or a scroll; None where it sets none."""
    strict = info.config.strict_mode_config
    return strict.max_query_limit or None if strict.enabled else None


def description(collection: str, info: Any, aliases: list[str] | None) -> dict[str, Any]:
    """Return the result of `collections.describe`."""
    config = info.config
    status = info.optimizer_status
    return {
        "name": collection,
        "status": _STATUS.get(info.status, "grey"),
        "points": info.points_count,
        "indexed_vectors": info.indexed_vectors_count,
        "segments": info.segments_count,
        "optimizer": "ok" if status.ok or not status.error else status.error,
        "indexes": {key: _index(each) for key, each in sorted(info.payload_schema.items())},
        "aliases": aliases,
        "update_queue": read(info.update_queue) if info.HasField("update_queue") else None,
        "warnings": [each.message for each in info.warnings],
        **options_of(config),
    }


def options_of(config: Any) -> dict[str, Any]:
    """Return the options of a collection in the wire form, under the names that they are created with."""
    params = config.params
    found: dict[str, Any] = {
        "vectors": _vectors(params.vectors_config),
        "sparse_vectors": read(params.sparse_vectors_config),
        "optimizers_config": read(config.optimizer_config),
        "metadata": from_values(config.metadata) if config.metadata else None,
        "shard_number": params.shard_number,
        "on_disk_payload": params.on_disk_payload,
    }
    for name in ("hnsw_config", "wal_config", "quantization_config", "strict_mode_config"):
        found[name] = read(getattr(config, name)) if config.HasField(name) else None
    for name in ("replication_factor", "write_consistency_factor", "read_fan_out_factor", "read_fan_out_delay_ms"):
        found[name] = getattr(params, name) if params.HasField(name) else None
    method = params.sharding_method
    found["sharding_method"] = grpc.ShardingMethod.Name(method).lower() if params.HasField("sharding_method") else None
    return found


def _index(schema: Any) -> dict[str, Any]:
    params = schema.params
    kind = params.WhichOneof("index_params")
    options: dict[str, Any] = {} if kind is None else read(getattr(params, kind))
    if "stemmer" in options:
        options["stemmer"] = options["stemmer"].get("snowball", {}).get("language")
    return {"type": grpc.PayloadSchemaType.Name(schema.data_type).lower(), "points": schema.points, "options": options}
