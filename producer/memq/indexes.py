from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from pydantic import TypeAdapter

from memq.answers import IndexAnswer
from memq.deliver.calls import Calls, read
from memq.encode.requests import RestModel, body, rest_form
from memq_schemas import CreateIndex, DeleteIndex, IndexCreated, IndexDeleted, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq.index_options import IndexOptions
    from memq_schemas import IndexType

_CREATED = TypeAdapter(IndexCreated)
_DELETED = TypeAdapter(IndexDeleted)


class Indexes:
    """`producer.indexes`. Every call raises RemoteError, ReplyTimeout, Unroutable or InvalidRequest."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        collection: str,
        key: str,
        type: IndexType | str | Mapping[str, Any] | RestModel,
        *,
        timeout: float | None = None,
        **options: Unpack[IndexOptions],
    ) -> IndexAnswer:
        """Index a payload key. Returns when the store has accepted it: building may take longer.

        type: keyword, integer, float, geo, text, bool, datetime or uuid; or an object of `type` and options, as in
        Qdrant's REST API and in models of qdrant_client, such as TextIndexParams.
        options: those of the type, such as is_tenant=True, or tokenizer="word", stemmer="english" for text.
        """
        given = rest_form(type)
        schema = cast("dict[str, Any]", given) if isinstance(given, dict) else {"type": given}
        fields = {**schema, **options, "key": key}
        reply = await self._calls.ask(Operation.CREATE_INDEX, collection, body(CreateIndex, fields), timeout)
        return IndexAnswer(read(_CREATED, reply).accepted, reply.elapsed_ms)

    async def delete(self, collection: str, key: str, *, timeout: float | None = None) -> IndexAnswer:
        """Delete the index of a payload key; without one it is accepted too."""
        reply = await self._calls.ask(Operation.DELETE_INDEX, collection, body(DeleteIndex, {"key": key}), timeout)
        return IndexAnswer(read(_DELETED, reply).accepted, reply.elapsed_ms)
