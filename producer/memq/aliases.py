from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from memq.answers import AliasAnswer, AliasesAnswer
from memq.deliver.calls import Calls, read
from memq.encode.requests import body
from memq_schemas import AliasCreated, AliasDeleted, AliasSwitched, NameAlias, Operation
from memq_schemas import Aliases as AliasList

if TYPE_CHECKING:
    from memq.connection.replies import Reply

_CREATED = TypeAdapter(AliasCreated)
_SWITCHED = TypeAdapter(AliasSwitched)
_DELETED = TypeAdapter(AliasDeleted)
_LIST = TypeAdapter(AliasList)


class Aliases:
    """`producer.aliases`: other names of collections. Every call raises RemoteError, ReplyTimeout, Unroutable or
    InvalidRequest."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, alias: str, collection: str, *, timeout: float | None = None) -> AliasAnswer:
        """Give a collection an alias. RemoteError with code collection_exists if it belongs to another collection."""
        reply = await self._ask(Operation.CREATE_ALIAS, alias, collection, timeout)
        created = read(_CREATED, reply).created
        return AliasAnswer(created, None if created else collection, reply.elapsed_ms)

    async def switch(self, alias: str, collection: str, *, timeout: float | None = None) -> AliasAnswer:
        """Give a collection an alias, taking it from the one that it belongs to, in one step of the store."""
        reply = await self._ask(Operation.SWITCH_ALIAS, alias, collection, timeout)
        before = read(_SWITCHED, reply).before
        return AliasAnswer(before != collection, before, reply.elapsed_ms)

    async def delete(self, alias: str, collection: str, *, timeout: float | None = None) -> AliasAnswer:
        """Take an alias from its collection; `changed` is False if the collection had no such alias."""
        reply = await self._ask(Operation.DELETE_ALIAS, alias, collection, timeout)
        deleted = read(_DELETED, reply).deleted
        return AliasAnswer(deleted, collection if deleted else None, reply.elapsed_ms)

    async def list(self, *, timeout: float | None = None) -> AliasesAnswer:
        reply = await self._calls.ask(Operation.ALIASES, None, b"{}", timeout)
        found = {each.alias: each.collection for each in read(_LIST, reply).aliases}
        return AliasesAnswer(found, reply.elapsed_ms)

    async def _ask(self, operation: Operation, alias: str, collection: str, timeout: float | None) -> Reply:
        return await self._calls.ask(operation, collection, body(NameAlias, {"alias": alias}), timeout)
