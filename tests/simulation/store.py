"""A store in memory behind the pipeline's own protocol, which fails in every way a remote one does."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memq_schemas import ErrorCode
from memq_worker.errors import DependencyError, MessageError, Outage, WorkerError
from memq_worker.pipeline.store import Contract
from tests.simulation.model import mark_of
from tests.simulation.tenants import FENCED_SECONDS, GONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memq_schemas import CreateCollection, Filter, Get, Operation, Query, SetPayload
    from memq_worker.pipeline.store import PointsBatch
    from tests.simulation.world import Process, World

# A write is slow after a second, of which its calls, four at most, share out the time.
_SLOW_SECONDS = 0.25
_LATELY_SECONDS = 160.0


@dataclass(frozen=True, slots=True)
class Event:
    """One message reached one point; for versions, whether or not it was the newer one."""

    step: int
    n: int
    version: int | None
    process: int
    began: int  # the step of the call


@dataclass(slots=True)
class Away:
    until: float
    error: Outage
    hanging: bool


class Points:
    """What is stored, and everything that reached it."""

    def __init__(self) -> None:
        self.points: dict[int, tuple[int, int | None]] = {}  # id -> message, version
        self.events: dict[int, list[Event]] = {}
        self.failures: dict[int, int] = {}  # by message: how often it failed for its own sake
        self.away: Away | None = None
        self.lost: set[int] = set()  # messages of which a reply was lost
        self.writing: dict[object, tuple[int, float]] = {}  # writes in flight: process, and when each began
        self._slow: dict[int, float] = {}  # by process: when a write of it was last in flight for long

    def slow(self, process: int, now: float) -> bool:
        """Return True if a write of the process was in flight for long, now or lately."""
        long = any(number == process and now - began >= _SLOW_SECONDS for number, began in self.writing.values())
        return long or now - self._slow.get(process, -math.inf) < _LATELY_SECONDS

    @contextmanager
    def written(self, process: int, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """A write, or the question for the contract that comes before it."""
        write, began = object(), loop.time()
        self.writing[write] = process, began
        try:
            yield
        finally:
            del self.writing[write]
            if loop.time() - began >= _SLOW_SECONDS:
                self._slow[process] = loop.time()

    def note(self, point: int, event: Event) -> None:
        self.events.setdefault(point, []).append(event)


class SimulatedStore:
    """The store as one worker process sees it: pipeline.store.Store."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._in_flight: dict[int, int] = {}
        self._began = 0

    async def contract(self, collection: str, timeout: float | None = None) -> Contract:
        with self._world.points.written(self._process.number, self._world.loop):
            await self._ask()
        return Contract({"": 2})

    def _check(self, collection: str, reached: Iterable[tuple[int, int]]) -> None:
        """Fail for a write into the collection of another, or of a tenant that was removed long ago."""
        world = self._world
        rollout, now = world.scenario.rollout, world.loop.time()
        for n in dict.fromkeys(n for _, n in reached):
            tenant = world.messages[n].tenant
            if collection != ("docs" if tenant is None else f"{tenant}.docs"):
                world.fail(f"{n} of {tenant} is written to {collection}")
            if tenant == GONE and rollout is not None and now > rollout.applied + FENCED_SECONDS:
                world.fail(f"{n} of {tenant} is written after its removal")

    async def upsert(self, collection: str, points: PointsBatch) -> None:
        versions = points.versions or [None] * len(points)
        writes: list[Callable[[], None]] = []
        reached: list[tuple[int, int]] = []
        for point, payload, version in zip(points.ids, points.payloads, versions, strict=True):
            assert isinstance(point, int)
            assert payload is not None
            reached.append((point, payload["n"]))
            writes.append(lambda p=point, n=payload["n"], v=version: self._put(p, n, v))
        self._check(collection, reached)
        await self._write(reached, writes)

    def _put(self, point: int, n: int, version: int | None) -> None:
        stored = self._world.points.points.get(point)
        if stored is None or stored[1] is None or version is None or stored[1] < version:
            self._world.points.points[point] = (n, version)
        self._note(point, n, version)

    async def delete(self, collection: str, ids: list[Any] | None, where: Filter | None) -> None:
        assert ids is not None
        marks = [n for n in map(mark_of, ids) if n is not None]
        reached = [(point, n) for n in marks for point in self._world.messages[n].ids]
        self._check(collection, reached)
        await self._write(reached, [lambda p=p, n=n: self._remove(p, n) for p, n in reached])

    def _remove(self, point: int, n: int) -> None:
        self._world.points.points.pop(point, None)
        self._note(point, n, None)

    async def delete_older(self, collection: str, versions: dict[Any, int]) -> None:
        raise NotImplementedError

    async def update_vectors(self, collection: str, points: PointsBatch) -> None:
        raise NotImplementedError

    async def delete_vectors(
        self, collection: str, ids: list[Any] | None, where: Filter | None, names: list[str]
    ) -> None:
        raise NotImplementedError

    async def set_payload(self, collection: str, change: SetPayload, preserved: tuple[str, ...] = ()) -> None:
        n = (change.set or {})["n"]
        assert isinstance(n, int)
        reached: list[tuple[int, int]] = [(point, n) for point in change.ids or () if isinstance(point, int)]
        self._check(collection, reached)
        await self._write(reached, [lambda p=p, n=n: self._note(p, n, None) for p, n in reached])

    def _note(self, point: int, n: int, version: int | None) -> None:
        self._world.log("stored", self._process.number, point, n)
        self._world.points.note(point, Event(self._world.step, n, version, self._process.number, self._began))

    async def query(self, collection: str, query: Query, timeout: float, share: int = 1) -> list[dict[str, Any]]:
        await self._ask()
        return []

    async def queries(
        self, collection: str, queries: Sequence[Query], timeout: float, share: int
    ) -> list[list[dict[str, Any]] | WorkerError]:
        raise NotImplementedError

    async def get(self, collection: str, get: Get, timeout: float) -> list[dict[str, Any]]:
        await self._ask()
        return []

    async def count(self, collection: str, where: Filter | None, timeout: float) -> int:
        await self._ask()
        return 0

    async def request(self, operation: Operation, collection: str, body: Any, timeout: float) -> Any:
        await self._ask()
        return {}

    async def list_collections(self, timeout: float) -> list[str]:
        await self._ask()
        return []

    async def create_collection(self, collection: str, body: CreateCollection, timeout: float) -> bool:
        raise NotImplementedError

    async def describe_collection(self, collection: str, timeout: float) -> dict[str, Any]:
        raise NotImplementedError

    async def drop_collection(self, collection: str, timeout: float) -> bool:
        raise NotImplementedError

    async def _ask(self) -> None:
        self._process.check_alive()
        away = self._world.points.away
        await self._pause(writing=False)
        if away is not None and away.error.away:
            raise away.error

    async def _pause(self, writing: bool) -> None:
        away, random = self._world.points.away, self._world.random
        seconds = random.random() * 0.02
        if away is not None and away.hanging and (writing or away.error.away):
            seconds = min(away.until - self._world.loop.time(), 3.0)
        elif random.random() < self._world.scenario.slow:
            seconds += 6.0 * random.random()
        await asyncio.sleep(max(seconds, 0.0))

    async def _write(self, reached: Sequence[tuple[int, int]], writes: list[Callable[[], None]]) -> None:
        """`reached` are the points, each with the message that it comes from."""
        world, process = self._world, self._process
        process.check_alive()
        marks = list(dict.fromkeys(n for _, n in reached))
        world.log("write", process.number, *marks)
        began = world.step
        for point, n in reached:
            if point in self._in_flight:
                world.fail(f"point {point}: {n} is written while {self._in_flight[point]} is")
            process.check_order(point, n)
        self._in_flight.update(reached)
        try:
            with world.points.written(process.number, world.loop):
                away = world.points.away
                await self._pause(writing=True)
                if away is not None:
                    raise away.error
                self._fail_for_a_message(marks)
                await self._apply(writes, began, marks)
        finally:
            for point, _ in reached:
                self._in_flight.pop(point, None)

    def _fail_for_a_message(self, marks: list[int]) -> None:
        for n in marks:
            message = self._world.messages[n]
            if message.kind == "poison":
                self._world.kill(self._process)
                raise asyncio.CancelledError
            if message.kind == "refused":
                raise MessageError(ErrorCode.REJECTED_BY_STORE, "no")
            failed = self._world.points.failures.get(n, 0)
            if failed < message.failures:
                if len(marks) == 1:
                    self._world.points.failures[n] = failed + 1
                if message.unexpected:
                    raise ZeroDivisionError("simulated")
                raise DependencyError(ErrorCode.STORE_ERROR, "odd")

    async def _apply(self, writes: list[Callable[[], None]], began: int, marks: list[int]) -> None:
        world = self._world
        drawn = world.random.random()
        # Lost twice while the store answers others, it would rightly be taken for the message's own failure.
        if not world.points.lost.isdisjoint(marks):
            drawn = 1.0
        lost = drawn < world.scenario.lost_replies
        part = not lost and drawn < world.scenario.lost_replies + world.scenario.partial
        done = asyncio.Event()

        def apply() -> None:
            # Not in the caller's task: what has been sent is applied, whatever becomes of who sent it.
            self._began = began
            for write in writes[: len(writes) // 2] if part else writes:
                write()
            done.set()

        world.loop.call_later(world.random.random() * 0.01, apply)
        await done.wait()
        await asyncio.sleep(world.random.random() * 0.01)
        if lost or part:
            world.points.lost.update(marks)
            raise Outage(ErrorCode.STORE_UNAVAILABLE, "no reply", away=drawn * 1000 % 2 < 1)
