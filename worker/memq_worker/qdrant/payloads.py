from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from memq_qdrant import grpc as q
from memq_schemas import ErrorCode, SetPayload
from memq_worker.errors import MessageError
from memq_worker.pipeline.store import Id
from memq_worker.qdrant import encode, filters, overwrite
from memq_worker.qdrant.values import to_values

Read = Callable[[Any, Any], Awaitable[Any]]


class PayloadChanges:
    """Changes of payloads, each a few calls of Qdrant.

    read, update: call a method of a stub with a request, and translate what it raises.
    """

    def __init__(
        self,
        points: Any,
        read: Read,
        update: Callable[[Any, Any, float | None], Awaitable[None]],
        most_per_query: Callable[[str], Awaitable[int | None]],
        seconds: Callable[[list[Id] | None], float],
    ) -> None:
        self._points = points
        self._read = read
        self._update = update
        self._most_per_query = most_per_query
        self._seconds = seconds

    async def change(self, collection: str, change: SetPayload, preserved: tuple[str, ...]) -> None:
        """Raises what Store.set_payload raises."""
        chosen = encode.selector(change.ids, change.filter)
        place: dict[str, Any] = {"collection_name": collection, "wait": True, "points_selector": chosen}
        if change.ids is not None:
            # Qdrant changes the points that it finds before it refuses the whole for one that it does not.
            overwrite.check_all_found(change, await self.stored(collection, change.ids))
        seconds = self._seconds(change.ids)
        try:
            if change.whole is not None:
                await self._overwrite(collection, change, change.whole, preserved)
            if change.set is not None:
                request = q.SetPayloadPoints(payload=to_values(change.set), key=change.key, **place)
                await self._update(self._points.SetPayload, request, seconds)
            if change.unset is not None:
                await self._update(
                    self._points.DeletePayload, q.DeletePayloadPoints(keys=change.unset, **place), seconds
                )
        except MessageError as error:
            if error.code is not ErrorCode.UNKNOWN_POINT:
                raise
            text = "ids: a point was deleted while the payload was changed; the others may have been changed"
            raise MessageError(ErrorCode.UNKNOWN_POINT, text) from error

    async def stored(self, collection: str, ids: Sequence[Id]) -> list[Any]:
        """Return those of the points that are stored, without payloads and vectors."""
        request = q.GetPoints(
            collection_name=collection,
            ids=[filters.point_id(each) for each in ids],
            with_payload=q.WithPayloadSelector(enable=False),
            with_vectors=q.WithVectorsSelector(enable=False),
        )
        return list((await self._read(self._points.Get, request)).result)

    async def _overwrite(
        self, collection: str, change: SetPayload, payload: dict[str, Any], preserved: tuple[str, ...]
    ) -> None:
        found: list[Any] = []
        offset, limit = None, overwrite.PAGE
        while True:
            request = overwrite.preserved_request(collection, change, preserved, offset, limit)
            try:
                page = await self._read(self._points.Scroll, request)
            except MessageError as error:
                allowed = await self._most_per_query(collection) if error.code is ErrorCode.REJECTED_BY_STORE else None
                if allowed is None or allowed >= limit:
                    raise
                limit = allowed
                continue
            found.extend(page.result)
            if not page.HasField("next_page_offset"):
                break
            offset = page.next_page_offset
        overwrite.check_all_found(change, found)
        for request in overwrite.overwrite_requests(collection, payload, preserved, found):
            await self._update(self._points.UpdateBatch, request, None)
