from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from memq.answers import IndexAnswer
from memq.deliver.calls import Calls, read
from memq.encode.requests import body
from memq_schemas import CreateIndex, DeleteIndex, IndexCreated, IndexDeleted, Operation

if TYPE_CHECKING:
    from memq_schemas import IndexType

_CREATED = TypeAdapter(IndexCreated)
_DELETED = TypeAdapter(IndexDeleted)


class Indexes:
    """`producer.indexes`. Every call raises RemoteError, ReplyTimeout, Unroutable or InvalidRequest."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self, collection: str, key: str, type: IndexType | str, *, timeout: float | None = None, **options: Any
    ) -> IndexAnswer:
        """Index a payload key. Returns when the store has accepted it: building may take longer.

        type: keyword, integer, float, geo, text, bool, datetime or uuid.
        options: those of the type, such as is_tenant=True, or tokenizer="word", stemmer="english" for text.
        """
        fields = {"key": key, "type": str(type), **options}
        reply = await self._calls.ask(Operation.CREATE_INDEX, collection, body(CreateIndex, fields), timeout)
        return IndexAnswer(read(_CREATED, reply).accepted, reply.elapsed_ms)

    async def delete(self, collection: str, key: str, *, timeout: float | None = None) -> IndexAnswer:
        """Delete the index of a payload key; without one it is accepted too."""
        reply = await self._calls.ask(Operation.DELETE_INDEX, collection, body(DeleteIndex, {"key": key}), timeout)
        return IndexAnswer(read(_DELETED, reply).accepted, reply.elapsed_ms)
