from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from memq.answers import CreateAnswer, DescribeAnswer, DropAnswer, ListAnswer, UpdateAnswer
from memq.deliver.calls import Calls, read
from memq.encode.requests import body, rest_form
from memq_schemas import (
    CollectionDeleted,
    CollectionDescription,
    CollectionNames,
    CollectionUpdated,
    CreateCollection,
    Created,
    Distance,
    Operation,
    UpdateCollection,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq.encode.requests import RestModel

_CREATED = TypeAdapter(Created)
_UPDATED = TypeAdapter(CollectionUpdated)
_NAMES = TypeAdapter(CollectionNames)
_DESCRIPTION = TypeAdapter(CollectionDescription)
_DELETED = TypeAdapter(CollectionDeleted)


class Collections:
    """`producer.collections`. Every call raises RemoteError, ReplyTimeout, Unroutable or InvalidRequest;
    create and delete also BrokerUnavailable when the connection breaks before their answer."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        name: str,
        size: int | None = None,
        distance: Distance | str = Distance.COSINE,
        *,
        vectors: Mapping[str, RestModel | Mapping[str, Any]] | RestModel | None = None,
        sparse_vectors: Mapping[str, Any] | None = None,
        hnsw_config: Any = None,
        quantization_config: Any = None,
        optimizers_config: Any = None,
        wal_config: Any = None,
        on_disk_payload: bool | None = None,
        shard_number: int | None = None,
        sharding_method: str | None = None,
        replication_factor: int | None = None,
        write_consistency_factor: int | None = None,
        strict_mode_config: Any = None,
        metadata: Mapping[str, Any] | None = None,
        exist_ok: bool = False,
        timeout: float | None = None,
    ) -> CreateAnswer:
        """`size` dimensions for one unnamed vector a point, or `vectors` by name: `{"text": {"size": 384}}`.

        distance: cosine, dot, euclid or manhattan, of the unnamed vector.
        vectors: the params of each: size, distance, datatype, on_disk, hnsw_config, quantization_config, and
        multivector_config for a list of vectors. The unnamed vector is named "".
        sparse_vectors: by name, `{"words": {"modifier": "idf"}}`.
        The options are those of Qdrant's REST API, as dicts or as models of qdrant_client.
        exist_ok: an existing collection that has everything said here is fine; with another, or without this,
        RemoteError with code collection_exists.
        """
        fields: dict[str, object] = {
            "size": size,
            "vectors": _by_name(vectors),
            "sparse_vectors": sparse_vectors,
            "hnsw_config": hnsw_config,
            "quantization_config": quantization_config,
            "optimizers_config": optimizers_config,
            "wal_config": wal_config,
            "on_disk_payload": on_disk_payload,
            "shard_number": shard_number,
            "sharding_method": sharding_method,
            "replication_factor": replication_factor,
            "write_consistency_factor": write_consistency_factor,
            "strict_mode_config": strict_mode_config,
            "metadata": metadata,
            "exist_ok": exist_ok,
        }
        if size is not None:
            fields["distance"] = str(distance)
        reply = await self._calls.ask(Operation.CREATE, name, body(CreateCollection, fields), timeout)
        return CreateAnswer(read(_CREATED, reply).created, reply.elapsed_ms)

    async def update(
        self,
        name: str,
        *,
        vectors: Mapping[str, Any] | None = None,
        sparse_vectors: Mapping[str, Any] | None = None,
        hnsw_config: Any = None,
        quantization_config: Any = None,
        optimizers_config: Any = None,
        on_disk_payload: bool | None = None,
        replication_factor: int | None = None,
        write_consistency_factor: int | None = None,
        read_fan_out_factor: int | None = None,
        read_fan_out_delay_ms: int | None = None,
        strict_mode_config: Any = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> UpdateAnswer:
        """Change options of a collection; those left out stay as they are. Options are those of `create`.

        vectors: new hnsw_config, quantization_config and on_disk by name; the unnamed vector is named "".
        quantization_config: "disabled" removes it.   metadata: None as a value removes its key.
        Returns when the store has the options; `describe` shows how far the rebuilding of an index is.
        """
        fields: dict[str, object] = {
            "vectors": vectors,
            "sparse_vectors": sparse_vectors,
            "hnsw_config": hnsw_config,
            "quantization_config": quantization_config,
            "optimizers_config": optimizers_config,
            "on_disk_payload": on_disk_payload,
            "replication_factor": replication_factor,
            "write_consistency_factor": write_consistency_factor,
            "read_fan_out_factor": read_fan_out_factor,
            "read_fan_out_delay_ms": read_fan_out_delay_ms,
            "strict_mode_config": strict_mode_config,
            "metadata": metadata,
        }
        reply = await self._calls.ask(Operation.UPDATE, name, body(UpdateCollection, fields), timeout)
        return UpdateAnswer(read(_UPDATED, reply).updated, reply.elapsed_ms)

    async def list(self, *, timeout: float | None = None) -> ListAnswer:
        reply = await self._calls.ask(Operation.LIST, None, b"{}", timeout)
        return ListAnswer(read(_NAMES, reply).collections, reply.elapsed_ms)

    async def describe(self, name: str, *, timeout: float | None = None) -> DescribeAnswer:
        reply = await self._calls.ask(Operation.DESCRIBE, name, b"{}", timeout)
        return DescribeAnswer(read(_DESCRIPTION, reply), reply.elapsed_ms)

    async def delete(self, name: str, *, timeout: float | None = None) -> DropAnswer:
        """The collection with all its points."""
        reply = await self._calls.ask(Operation.DROP, name, b"{}", timeout)
        return DropAnswer(read(_DELETED, reply).deleted, reply.elapsed_ms)


def _by_name(vectors: Any) -> Any:
    """Return the params of vectors by name; params alone, as in Qdrant's REST API, are those of the unnamed one."""
    found: Any = rest_form(vectors)
    alone = hasattr(found, "get") and isinstance(found.get("size"), int)
    return {"": found} if alone else found
