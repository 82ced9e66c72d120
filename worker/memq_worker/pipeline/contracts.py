import asyncio
import time

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import UpsertPoints, Write
from memq_worker.pipeline.limits.stored import StoredPoints
from memq_worker.pipeline.store import Contract, Store

_FRESH_SECONDS = 60.0


class Contracts:
    """Contracts of collections, read from the store once a minute and again before a refusal because of them."""

    def __init__(self, store: Store, stored: StoredPoints | None = None) -> None:
        """stored: the limit on tenants' stored points, which refuses upserts too."""
        self._store = store
        self._stored = stored
        self._known: dict[str, tuple[Contract, float]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, collection: str, max_age_seconds: float = _FRESH_SECONDS) -> Contract:
        """Raises what Store.contract raises."""
        known = self._known.get(collection)
        if known is not None and time.monotonic() - known[1] < max_age_seconds:
            return known[0]
        asked = time.monotonic()
        lock = self._asking.setdefault(collection, asyncio.Lock())
        async with lock:
            known = self._known.get(collection)
            if known is not None and known[1] >= asked:
                return known[0]
            self._known.pop(collection, None)
            try:
                contract = await self._store.contract(collection)
                self._known[collection] = (contract, asked)
            finally:
                self._asking.pop(collection, None)
            return contract

    def forget(self, collection: str) -> None:
        self._known.pop(collection, None)

    async def refusals(self, collection: str, commands: list[UpsertPoints]) -> dict[Write, MessageError]:
        """The commands whose vectors the collection does not take.

        A collection may have been recreated, or an alias switched, so nothing is refused on a contract that was read
        before the refusal.
        """
        contract = await self.get(collection)
        refused = _refused(contract, collection, commands)
        if refused:
            contract = await self.get(collection, 0.0)
            refused = _refused(contract, collection, commands)
        if self._stored is not None and any(command.delivery.tenant is not None for command in commands):
            refused |= await self._stored.refusals(collection, [c for c in commands if c not in refused])
        return refused


def _refused(contract: Contract, collection: str, commands: list[UpsertPoints]) -> dict[Write, MessageError]:
    problems = ((command, mismatch(contract, collection, command)) for command in commands)
    return {command: problem for command, problem in problems if problem is not None}


def mismatch(contract: Contract, collection: str, command: UpsertPoints) -> MessageError | None:
    """The first vector of the message that the collection does not take."""
    for name, column in command.points.columns.items():
        size = contract.sizes.get(name)
        expected = None if size is None else 4 * size
        for index, row in enumerate(column):
            if row is None or len(row) == expected:
                continue
            if size is None:
                return _unknown_vector(contract, collection, name, index)
            return MessageError(
                ErrorCode.WRONG_DIMENSION,
                f"points[{index}]: {len(row) // 4} dimensions, collection {collection!r} takes {size}",
                stage="validate",
            )
    return None


def _unknown_vector(contract: Contract, collection: str, name: str, index: int) -> MessageError:
    names = ", ".join(repr(known) for known in contract.sizes if known)
    if not names:
        reason = f"collection {collection!r} takes one unnamed vector"
    elif name:
        reason = f"collection {collection!r} has no vector of this name; it has {names}"
    else:
        reason = f"collection {collection!r} takes named vectors: {names}"
    return MessageError(ErrorCode.UNKNOWN_VECTOR, f"points[{index}]: {reason}", stage="validate")
