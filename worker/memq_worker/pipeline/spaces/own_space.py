import re
from collections.abc import Callable
from typing import Any

from memq_schemas import Count, ErrorCode, Operation, check_collection
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
from memq_worker.pipeline.spaces.hidden_keys import check_keys, visible
from memq_worker.pipeline.spaces.results import without_hidden
from memq_worker.pipeline.spaces.space import POINT_REQUESTS, Ask, refused
from memq_worker.pipeline.spaces.walk import walk
from memq_worker.pipeline.store import Id

_ASKED = POINT_REQUESTS | {
    Operation.UPDATE,
    Operation.DESCRIBE,
    Operation.DROP,
    Operation.CREATE_INDEX,
    Operation.DELETE_INDEX,
    Operation.CREATE_ALIAS,
    Operation.SWITCH_ALIAS,
    Operation.DELETE_ALIAS,
}
_DESCRIBED = frozenset(
    (
        "status",
        "points",
        "vectors",
        "sparse_vectors",
        "indexed_vectors",
        "segments",
        "update_queue",
        "hnsw_config",
        "optimizers_config",
        "quantization_config",
        "strict_mode_config",
        "metadata",
        "on_disk_payload",
    )
)


class OwnSpace:
    """Storage `own`: the collections of a tenant are called `<tenant>.<collection>`.

    A tenant's name has no dot, so no name of one tenant begins like those of another. Ids are stored as they are.
    """

    owner = None

    def __init__(
        self, tenant: str, max_collections: int | None = None, reached: Callable[[str], None] = lambda _: None
    ) -> None:
        """reached: called with the name of the limit each time that a collection is refused."""
        self._prefix = f"{tenant}."
        self._max_collections = max_collections
        self._reached = reached
        self._quoted = re.compile(rf"(?<![\w.-]){re.escape(self._prefix)}")

    def collection(self, name: str) -> str:
        try:
            return check_collection(self._prefix + check_collection(name))
        except ValueError as error:
            raise MessageError(ErrorCode.INVALID_COLLECTION, str(error.args[0]), stage="validate") from None

    def alias(self, name: str) -> str:
        return self.collection(name)

    def point(self, point: Id) -> Id:
        return point

    def retold(self, text: str) -> str:
        return self._quoted.sub("", text)

    def write(self, command: Write) -> Write:
        match command:
            case UpsertPoints():
                for index, payload in enumerate(command.points.payloads):
                    if payload:
                        check_keys(payload, f"points[{index}].payload")
            case DeletePoints():
                command.body = walk(command.body, self)
            case ChangePayload():
                command.body = walk(command.body, self)
            case RemoveVectors():
                command.body = walk(command.body, self)
            case ReplaceVectors():
                pass
            case _:
                raise refused(command.operation)
        command.collection = self.collection(command.collection)
        return command

    async def answer(self, request: Request, ask: Ask) -> Any:
        operation, body = request.operation, walk(request.body, self)
        if operation is Operation.LIST:
            return {"collections": await self.collections(ask)}
        if operation is Operation.ALIASES:
            return await self._aliases(ask)
        name = request.collection or ""
        stored = self.collection(name)
        if operation is Operation.CREATE:
            await self._check_number(name, ask)
        elif operation not in _ASKED:
            raise refused(operation)
        return self._result(operation, name, await ask(operation, stored, body))

    def _result(self, operation: Operation, name: str, result: Any) -> Any:
        if operation in POINT_REQUESTS:
            return without_hidden(operation, result)
        if operation is Operation.DESCRIBE:
            return self._described(name, result)
        if operation is Operation.SWITCH_ALIAS:
            return {"before": self._own(result["before"])}
        return result

    def _described(self, name: str, result: dict[str, Any]) -> dict[str, Any]:
        found = {field: value for field, value in result.items() if field in _DESCRIBED}
        aliases = [own for each in result.get("aliases") or () if (own := self._own(each)) is not None]
        return {"name": name, "aliases": aliases, "indexes": visible(result.get("indexes") or {}), **found}

    def _own(self, stored: str | None) -> str | None:
        """Return the tenant's name of a collection or alias; None for those of others."""
        return stored.removeprefix(self._prefix) if stored and stored.startswith(self._prefix) else None

    async def collections(self, ask: Ask) -> list[str]:
        found = await ask(Operation.LIST, "", None)
        return [name for stored in found["collections"] if (name := self._own(stored)) is not None]

    async def stored_points(self, ask: Ask) -> int:
        names = await self.collections(ask)
        counts = [await ask(Operation.COUNT, self.collection(name), Count()) for name in names]
        return sum(each["count"] for each in counts)

    async def _aliases(self, ask: Ask) -> Any:
        found = await ask(Operation.ALIASES, "", None)
        pairs = ((self._own(each["alias"]), self._own(each["collection"])) for each in found["aliases"])
        return {"aliases": [{"alias": alias, "collection": name} for alias, name in pairs if alias and name]}

    async def _check_number(self, name: str, ask: Ask) -> None:
        most = self._max_collections
        if most is None:
            return
        names = await self.collections(ask)
        if name not in names and len(names) >= most:
            self._reached("collections")
            raise MessageError(
                ErrorCode.QUOTA_EXCEEDED, f"collections: the tenant's limit of {most} is reached", stage="validate"
            )
