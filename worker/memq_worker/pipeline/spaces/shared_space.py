import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from memq_schemas import Count, CreateCollection, CreateIndex, Delete, ErrorCode, Operation, Scroll
from memq_schemas.collections import Empty
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import (
    ChangePayload,
    DeletePoints,
    RemoveVectors,
    ReplaceVectors,
    Request,
    UpsertPoints,
    Write,
)
from memq_worker.pipeline.spaces.hidden_keys import ID_KEY, TENANT_KEY, check_keys, visible
from memq_worker.pipeline.spaces.ids import Ids, original, stored_id
from memq_worker.pipeline.spaces.results import restored
from memq_worker.pipeline.spaces.space import POINT_REQUESTS, Ask, refused
from memq_worker.pipeline.spaces.walk import owned, walk
from memq_worker.pipeline.store import Id, PointsBatch

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PRESERVED = (TENANT_KEY, ID_KEY)
_DESCRIBED = ("status", "vectors", "sparse_vectors")
_OPERATOR = "the operator does this for a shared collection"


class SharedSpace:
    """Storage `shared`: a tenant's points are those of declared collections that carry its name in their payload.

    Ids are stored as UUIDs of tenant and id, so that equal ids of two tenants are two points. The collections are there
    from the beginning, for every tenant that may use them.
    """

    def __init__(self, tenant: str, contracts: Mapping[str, CreateCollection]) -> None:
        """contracts: of the shared collections that the tenant may use, by name."""
        self.owner = tenant
        self._contracts = contracts
        self._ids = Ids(tenant)

    def collection(self, name: str) -> str:
        if name not in self._contracts:
            raise MessageError(ErrorCode.UNKNOWN_COLLECTION, "no such collection", stage="validate")
        return name

    def alias(self, name: str) -> str:
        raise MessageError(ErrorCode.FORBIDDEN, "alias: not available for a shared collection", stage="validate")

    def point(self, point: Id) -> Id:
        return self._ids.stored(point)

    def retold(self, text: str) -> str:
        # Ids that the store quotes are none that the tenant knows.
        return _UUID.sub("(id)", text)

    def write(self, command: Write) -> Write:
        command.collection = self.collection(command.collection)
        match command:
            case UpsertPoints():
                command.points = self._points(command.points)
                command.ids = command.points.ids
            case DeletePoints():
                command.body = walk(command.body, self)
            case ChangePayload():
                command.body = walk(command.body, self)
                command.preserved = _PRESERVED
            case RemoveVectors():
                command.body = walk(command.body, self)
            case ReplaceVectors():
                command.points = replace(command.points, ids=[self._ids.stored(point) for point in command.ids])
                command.ids = command.points.ids
            case _:
                raise refused(command.operation)
        return command

    def _points(self, points: PointsBatch) -> PointsBatch:
        tenant, stored = self.owner, self._ids.stored
        payloads: list[dict[str, Any] | None] = []
        for index, (point, payload) in enumerate(zip(points.ids, points.payloads, strict=True)):
            if payload:
                check_keys(payload, f"points[{index}].payload")
                payloads.append({**payload, TENANT_KEY: tenant, ID_KEY: stored_id(point)})
            else:
                payloads.append({TENANT_KEY: tenant, ID_KEY: stored_id(point)})
        return replace(points, ids=[stored(point) for point in points.ids], payloads=payloads)

    async def answer(self, request: Request, ask: Ask) -> Any:
        operation = request.operation
        if operation is Operation.LIST:
            return {"collections": await self.collections(ask)}
        if operation is Operation.ALIASES:
            return {"aliases": []}
        name = self.collection(request.collection or "")
        body = walk(request.body, self)
        if operation in POINT_REQUESTS:
            wanted = getattr(request.body, "with_payload", True)
            return await self._about_points(operation, body, wanted, ask, name)
        return await self._about_collection(operation, name, body, ask)

    async def collections(self, ask: Ask) -> list[str]:
        return sorted(self._contracts)

    async def stored_points(self, ask: Ask) -> int:
        own = Count(filter=owned(None, self.owner))
        return sum([(await ask(Operation.COUNT, name, own))["count"] for name in self._contracts])

    async def _about_collection(self, operation: Operation, name: str, body: Any, ask: Ask) -> Any:
        match operation:
            case Operation.CREATE:
                return await self._created(name, body, ask)
            case Operation.DESCRIBE:
                return await self._described(name, ask)
            case Operation.DROP:
                await ask(Operation.DELETE, name, Delete(filter=owned(None, self.owner)))
                return {"deleted": True}
            case Operation.CREATE_INDEX:
                return await self._index_created(name, body, ask)
            case _:
                raise refused(operation, _OPERATOR)

    async def _about_points(self, operation: Operation, body: Any, wanted: Any, ask: Ask, name: str) -> Any:
        """wanted: the request's `with_payload`."""
        result = restored(operation, await ask(operation, name, body), payload=wanted is not False)
        if operation is Operation.SCROLL and result["next"] is not None:
            return {**result, "next": await self._next(name, body, result["next"], ask)}
        return result

    async def _next(self, name: str, scroll: Scroll, following: Id, ask: Ask) -> Id | None:
        """Return the original id of the point that the next page begins with."""
        one = scroll.model_copy(
            update={"offset": following, "limit": 1, "with_payload": [ID_KEY], "with_vector": False}
        )
        points = (await ask(Operation.SCROLL, name, one))["points"]
        return original(points[0]["payload"].get(ID_KEY)) if points else None

    async def _created(self, name: str, body: CreateCollection, ask: Ask) -> Any:
        """Compare with the collection that is there. It is never made here, where it would have no index by tenant."""
        await ask(Operation.DESCRIBE, name, Empty())
        return await ask(Operation.CREATE, name, body.model_copy(update={"exist_ok": True}))

    async def _described(self, name: str, ask: Ask) -> Any:
        found = await ask(Operation.DESCRIBE, name, Empty())
        points = (await ask(Operation.COUNT, name, Count(filter=owned(None, self.owner))))["count"]
        indexes = visible(found.get("indexes") or {})
        return {
            "name": name,
            "points": points,
            "indexes": {key: {**each, "points": min(each["points"], points)} for key, each in indexes.items()},
            **{field: found[field] for field in _DESCRIBED if field in found},
        }

    async def _index_created(self, name: str, body: CreateIndex, ask: Ask) -> Any:
        """Accept an index that is there: code for a collection of one's own works with a shared one."""
        indexes: dict[str, Any] = (await ask(Operation.DESCRIBE, name, Empty())).get("indexes") or {}
        index = indexes.get(body.key)
        if index is None or index["type"] != body.type.value:
            raise refused(Operation.CREATE_INDEX, _OPERATOR)
        return {"accepted": True}
