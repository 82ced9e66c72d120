"""qdrant.Collections, as far as one process with one shard per collection can serve it."""

from typing import Any

from .convert import config
from .convert.creation import check_name
from .convert.indexes import write_schema
from .engine import Engine
from .proto import messages


def create(engine: Engine, request: Any) -> Any:
    engine.create(request)
    return messages.CollectionOperationResponse(result=True)


def delete(engine: Engine, request: Any) -> Any:
    return messages.CollectionOperationResponse(result=engine.delete(request.collection_name))


def update(engine: Engine, request: Any) -> Any:
    engine.update(request)
    return messages.CollectionOperationResponse(result=True)


def exists(engine: Engine, request: Any) -> Any:
    check_name(request.collection_name)
    found = messages.CollectionExists(exists=engine.has(request.collection_name))
    return messages.CollectionExistsResponse(result=found)


def names(engine: Engine, _request: Any) -> Any:
    reply = messages.ListCollectionsResponse()
    for name in engine.names():
        reply.collections.add(name=name)
    return reply


def describe(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    found = collection.info()
    reply = messages.GetCollectionInfoResponse()
    info = reply.result
    info.status = messages.CollectionStatus.Value("Green")
    info.optimizer_status.ok = True
    info.segments_count = found.segments_count
    info.points_count = found.points_count
    info.indexed_vectors_count = found.indexed_vectors_count
    info.update_queue.SetInParent()
    config.write_config(info.config, collection.created_with)
    write_schema(info.payload_schema, found.payload_schema)
    return reply
