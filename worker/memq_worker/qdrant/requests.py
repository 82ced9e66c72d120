from collections.abc import Awaitable, Callable
from typing import Any

from memq_qdrant import grpc
from memq_schemas import (
    Count,
    CreateIndex,
    DeleteIndex,
    ErrorCode,
    Facet,
    NameAlias,
    Operation,
    Scroll,
    UpdateCollection,
)
from memq_worker.errors import MessageError, WorkerError
from memq_worker.qdrant import aliases, collections, facets, indexes, scrolls
from memq_worker.qdrant.filters import where
from memq_worker.qdrant.replies import ReplyLimit

_FEWER = 8

Ask = Callable[[Any, Any, float], Awaitable[Any]]


class Requests:
    """Questions that need nothing of a pipeline: one body in, calls of Qdrant, one result out.

    `ask` calls a method of a stub with a request and a timeout in seconds, and translates what it raises.
    """

    def __init__(self, points: Any, collections: Any, ask: Ask, replies: ReplyLimit) -> None:
        self._replies = replies
        self._points = points
        self._collections = collections
        self._ask = ask

    async def answer(self, operation: Operation, collection: str, body: Any, timeout: float) -> Any:
        """Return the result as its JSON form. Raises WorkerError."""
        match body:
            case Scroll():
                return await self._scroll(collection, body, timeout)
            case Facet():
                found = await self._ask(self._points.Facet, facets.facet_request(collection, body), timeout)
                return {"values": facets.facet_values(found.hits)}
            case Count():
                chosen = where(body.filter)
                request = grpc.CountPoints(collection_name=collection, filter=chosen, exact=body.exact)
                return {"count": int((await self._ask(self._points.Count, request, timeout)).result.count)}
            case _:
                return await self._administer(operation, collection, body, timeout)

    async def _scroll(self, collection: str, scroll: Scroll, timeout: float) -> Any:
        """Ask for fewer points where those asked for are too large for one answer of Qdrant."""
        request = scrolls.scroll_request(collection, scroll)
        while True:
            try:
                return scrolls.page(await self._ask(self._points.Scroll, request, timeout), scroll, self._replies)
            except MessageError as error:
                if error.code is not ErrorCode.TOO_LARGE or request.limit == 1:
                    raise
                request.limit = max(1, request.limit // _FEWER)

    async def _administer(self, operation: Operation, collection: str, body: Any, timeout: float) -> Any:
        match body:
            case CreateIndex():
                request = indexes.create_request(collection, body)
                await self._ask(self._points.CreateFieldIndex, request, timeout)
                return {"accepted": True}
            case DeleteIndex():
                request = indexes.delete_request(collection, body)
                await self._ask(self._points.DeleteFieldIndex, request, timeout)
                return {"accepted": True}
            case UpdateCollection():
                await self._ask(self._collections.Update, collections.update_request(collection, body), timeout)
                return {"updated": True}
            case NameAlias():
                return await self._name_alias(operation, collection, body.alias, timeout)
            case _:
                found = await self._aliases(timeout)
                return {"aliases": [{"alias": alias, "collection": name} for alias, name in sorted(found.items())]}

    async def aliases_of(self, collection: str, timeout: float) -> list[str] | None:
        """Return the aliases of a collection, or of the one behind an alias; None if the key may not list them."""
        try:
            found = await self._aliases(timeout)
        except WorkerError as error:
            if error.code is not ErrorCode.FORBIDDEN:
                raise
            return None
        behind = found.get(collection, collection)
        return sorted(alias for alias, name in found.items() if name == behind)

    async def _aliases(self, timeout: float) -> dict[str, str]:
        """Collection names by alias."""
        return aliases.by_alias(await self._ask(self._collections.ListAliases, grpc.ListAliasesRequest(), timeout))

    async def _name_alias(self, operation: Operation, collection: str, alias: str, timeout: float) -> Any:
        before = (await self._aliases(timeout)).get(alias)
        if operation is Operation.DELETE_ALIAS:
            deleted = before == collection
            if deleted:
                await self._ask(self._collections.UpdateAliases, aliases.delete_request(alias), timeout)
            return {"deleted": deleted}
        if operation is Operation.CREATE_ALIAS and before not in (None, collection):
            raise aliases.name_conflict(alias, collection)
        await self._ask(self._collections.UpdateAliases, aliases.switch_request(alias, before, collection), timeout)
        return {"before": before} if operation is Operation.SWITCH_ALIAS else {"created": before is None}
