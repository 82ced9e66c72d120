import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from memq_amqp.tasks import stopped

from memq_worker.errors import MessageError, WorkerError

One = Callable[[Any, float], Awaitable[Any]]
Many = Callable[[str, Sequence[Any], float], Awaitable[Sequence[Any]]]


@dataclass(slots=True, eq=False)
class _Lot:
    """Requests of one message that go to the store in one call, with others or without."""

    requests: Sequence[Any]
    deadline: float
    answers: asyncio.Future[list[Any]]


@dataclass(slots=True, eq=False)
class _Collection:
    waiting: deque[_Lot] = field(default_factory=deque[_Lot])
    requests: int = 0  # in those lots
    busy: int = 0
    starting: int = 0  # calls of this turn of the loop


class QueryGroups:
    """Group commit for questions: while some are being answered others gather, and go to the store together.

    A question that comes alone is asked alone, at once. One that spoils its group costs the others a second call.
    Those that wait are divided among all calls, but not into groups of fewer than `least`: a call costs as much as a
    search. So queries of one message are asked in several calls at a time, in equal lots.
    """

    def __init__(self, one: One, many: Many, *, least: int = 4, most: int = 8, in_flight: int = 4) -> None:
        self._one = one
        self._many = many
        self._least = least
        self._most = most
        self._in_flight = in_flight
        self._collections: dict[str, _Collection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, collection: str, request: Any, timeout: float) -> Any:
        """Return the answer to `request`. Raises what `one` and `many` raise.

        timeout: seconds that the store has. The caller limits the time spent waiting for a call.
        """
        (answer,) = await self.ask_all(collection, [request], timeout)
        if isinstance(answer, WorkerError):
            raise answer
        return answer

    async def ask_all(self, collection: str, requests: Sequence[Any], timeout: float) -> list[Any]:
        """Return for each of `requests` its answer or its WorkerError."""
        loop = asyncio.get_running_loop()
        group = self._collections.setdefault(collection, _Collection())
        deadline = loop.time() + timeout
        number = -(-len(requests) // self._least)
        parts = [requests[len(requests) * at // number : len(requests) * (at + 1) // number] for at in range(number)]
        lots = [_Lot(part, deadline, loop.create_future()) for part in parts]
        group.waiting.extend(lots)
        group.requests += len(requests)
        # They run after this turn of the loop, so everything one read brought in gathers first.
        while group.starting + group.busy < self._in_flight and group.starting * self._least < group.requests:
            group.starting += 1
            self._start(collection, group)
        if len(lots) == 1:
            return await lots[0].answers
        return [answer for found in await asyncio.gather(*(lot.answers for lot in lots)) for answer in found]

    def _start(self, collection: str, group: _Collection) -> None:
        task = asyncio.create_task(self._run(collection, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, collection: str, group: _Collection) -> None:
        group.starting -= 1
        group.busy += 1
        try:
            while group.waiting:
                wanted = [lot for lot in self._next(group) if not lot.answers.done()]
                if wanted:
                    await self._send(collection, wanted)
        finally:
            group.busy -= 1
            if not (group.busy or group.starting or group.waiting):
                self._collections.pop(collection, None)

    def _next(self, group: _Collection) -> list[_Lot]:
        """Take the lots of the next call."""
        size = min(max(-(-group.requests // self._in_flight), self._least), self._most)
        lots: list[_Lot] = []
        taken = 0
        while group.waiting and (not lots or taken + len(group.waiting[0].requests) <= size):
            lots.append(group.waiting.popleft())
            taken += len(lots[-1].requests)
        group.requests -= taken
        return lots

    async def _send(self, collection: str, lots: list[_Lot]) -> None:
        try:
            answers = await self._answers(collection, lots)
        except Exception as error:  # noqa: BLE001  (handed to those who asked)
            for lot in lots:
                if not lot.answers.done():
                    lot.answers.set_exception(error)
            return
        for lot in lots:
            own, answers = answers[: len(lot.requests)], answers[len(lot.requests) :]
            if not lot.answers.done():
                lot.answers.set_result(list(own))

    async def _answers(self, collection: str, lots: list[_Lot]) -> Sequence[Any]:
        requests = [request for lot in lots for request in lot.requests]
        if len(requests) == 1:
            return [await self._alone(requests[0], lots[0].deadline)]
        left = max(lot.deadline for lot in lots) - asyncio.get_running_loop().time()
        try:
            return await self._many(collection, requests, left)
        except MessageError:
            # One of them is at fault, and Qdrant does not say which.
            return await asyncio.gather(*(self._alone(each, lot.deadline) for lot in lots for each in lot.requests))
        except WorkerError as error:
            return [error] * len(requests)

    async def _alone(self, request: Any, deadline: float) -> Any:
        """Return the answer to `request`, or its error."""
        try:
            return await self._one(request, deadline - asyncio.get_running_loop().time())
        except WorkerError as error:
            return error

    async def close(self) -> None:
        """Answers nothing more."""
        await stopped(*self._tasks)
