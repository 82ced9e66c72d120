import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection

from memq_schemas import ErrorCode
from memq_worker.errors import CollectionOutage, DependencyError, Outage, StoreOutage, WorkerError
from memq_worker.pipeline.store import Store

REMEMBERED = 64  # collections
_RECENT_SECONDS = 60.0


class Diagnosis:
    """Decides whose failure a failed write is, by asking the store independent questions.

    A write that fails while the store answers others belongs to its collection or to its message.
    """

    def __init__(self, store: Store, timeout_seconds: float) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self.written: dict[str, float] = {}  # collection: when a write to it succeeded last, on the monotonic clock
        self._asking: asyncio.Task[bool] | None = None

    def wrote_others(self, collections: Collection[str]) -> bool:
        """Return True if a collection beside these was written lately."""
        after = time.monotonic() - _RECENT_SECONDS
        return any(when > after and name not in collections for name, when in self.written.items())

    async def of(self, error: Outage, collection: str, began: float) -> WorkerError:
        """Return `error` as StoreOutage, CollectionOutage or, for the message's own failure, DependencyError.

        began: when the failed call began, on the monotonic clock.
        """
        if not await self.answers():
            return StoreOutage.of(error)
        other = self._other(collection)
        if other is not None and other[1] < began and await self._refuses(other[0]):
            return StoreOutage.of(error)
        if error.least == "message" and not await self._refuses(collection):
            own = DependencyError(error.code, error.message, stage=error.stage)
            own.__cause__ = error.__cause__
            return own
        # With no other collection to ask about, nobody else is held.
        return StoreOutage.of(error) if other is None else CollectionOutage.of(error)

    def _other(self, collection: str) -> tuple[str, float] | None:
        """The collection beside `collection` that was written last, and when; None if there was none lately."""
        after = time.monotonic() - _RECENT_SECONDS
        found = [(when, name) for name, when in self.written.items() if name != collection and when > after]
        return (max(found)[1], max(found)[0]) if found else None

    async def answers(self) -> bool:
        """Return True if the store answers at all. Writes that fail together share one question."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._listed())
        return await asyncio.shield(self._asking)

    async def _listed(self) -> bool:
        return not await self._fails(lambda: self._store.list_collections(self._timeout_seconds))

    async def _refuses(self, collection: str) -> bool:
        """Whether the store refuses a write that changes nothing."""
        return await self._fails(lambda: self.ask(collection))

    async def ask(self, collection: str) -> None:
        """Write to `collection` without changing it. Raises what Store.delete raises."""
        await self._store.delete(collection, [str(uuid.uuid4())], None)

    async def _fails(self, question: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await question()
        except (Outage, TimeoutError):
            return True
        except WorkerError as error:
            return too_slow(error)  # a refusal is an answer
        return False


def too_slow(error: WorkerError) -> bool:
    """Return True if the store did not finish the call in time."""
    return error.code is ErrorCode.DEADLINE_EXCEEDED
