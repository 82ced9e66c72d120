from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from memq.answers import CreateAnswer, DescribeAnswer, DropAnswer, ListAnswer
from memq.deliver.calls import Calls, read
from memq.encode.requests import body
from memq_schemas import (
    CollectionDeleted,
    CollectionDescription,
    CollectionNames,
    CreateCollection,
    Created,
    Distance,
    Operation,
    VectorParams,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREATED = TypeAdapter(Created)
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
        vectors: Mapping[str, VectorParams | Mapping[str, Any]] | None = None,
        exist_ok: bool = False,
        timeout: float | None = None,
    ) -> CreateAnswer:
        """`size` dimensions for one unnamed vector a point, or `vectors` for named ones: `{"text": {"size": 384}}`.

        distance: cosine, dot, euclid or manhattan.
        exist_ok: a collection that is there with the same vectors is fine; with others, or without this, RemoteError
        with code collection_exists.
        """
        named = vectors and {
            key: params.model_dump(mode="json") if isinstance(params, VectorParams) else dict(params)
            for key, params in vectors.items()
        }
        fields: dict[str, object] = {"size": size, "vectors": named, "exist_ok": exist_ok}
        if vectors is None:
            fields["distance"] = str(distance)
        reply = await self._calls.ask(Operation.CREATE, name, body(CreateCollection, fields), timeout)
        return CreateAnswer(read(_CREATED, reply).created, reply.elapsed_ms)

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
