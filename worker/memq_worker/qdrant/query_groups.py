import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from memq_amqp.tasks import stopped

from memq_worker.errors import MessageError

One = Callable[[Any, float], Awaitable[Any]]
Many = Callable[[str, Sequence[Any], float], Awaitable[Sequence[Any]]]


@dataclass(slots=True, eq=False)
class _Waiting:
    request: Any
    deadline: float
    answer: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class _Collection:
    waiting: deque[_Waiting] = field(default_factory=deque[_Waiting])
    busy: int = 0
    woken: bool = False


class QueryGroups:
    """Group commit for questions: while some are being answered others gather, and go to the store together.

    A question that comes alone is asked alone, at once. One that spoils its group costs the others a second call.
    Those that wait are divided among all calls, but not into groups of fewer than `least`: a call costs as much as a
    search. Queries that came together go one group after the other, so that their answers, the next queries and the
    store's searches overlap.
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
        loop = asyncio.get_running_loop()
        group = self._collections.setdefault(collection, _Collection())
        answer: asyncio.Future[Any] = loop.create_future()
        group.waiting.append(_Waiting(request, loop.time() + timeout, answer))
        if not group.woken and group.busy < self._in_flight:
            # It runs after this turn of the loop, so everything one read brought in gathers first.
            group.woken = True
            self._start(collection, group)
        return await answer

    def _start(self, collection: str, group: _Collection) -> None:
        task = asyncio.create_task(self._run(collection, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, collection: str, group: _Collection) -> None:
        group.woken = False
        group.busy += 1
        try:
            while group.waiting:
                size = min(max(-(-len(group.waiting) // self._in_flight), self._least), self._most)
                calls = [group.waiting.popleft() for _ in range(min(size, len(group.waiting)))]
                wanted = [each for each in calls if not each.answer.done()]
                if wanted:
                    await self._send(collection, wanted)
        finally:
            group.busy -= 1
            if not group.busy and not group.waiting:
                self._collections.pop(collection, None)

    async def _send(self, collection: str, wanted: list[_Waiting]) -> None:
        if len(wanted) == 1:
            await self._send_alone(wanted[0])
            return
        left = max(each.deadline for each in wanted) - asyncio.get_running_loop().time()
        try:
            answers = await self._many(collection, [each.request for each in wanted], left)
        except MessageError:
            # One of them is at fault, and Qdrant does not say which.
            await asyncio.gather(*map(self._send_alone, wanted))
        except Exception as error:  # noqa: BLE001  (handed to those who asked)
            for each in wanted:
                _fail(each, error)
        else:
            for each, answer in zip(wanted, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)

    async def _send_alone(self, each: _Waiting) -> None:
        try:
            answer = await self._one(each.request, each.deadline - asyncio.get_running_loop().time())
        except Exception as error:  # noqa: BLE001  (handed to the one who asked)
            _fail(each, error)
        else:
            if not each.answer.done():
                each.answer.set_result(answer)

    async def close(self) -> None:
        """Answers nothing more."""
        await stopped(*self._tasks)


def _fail(each: _Waiting, error: Exception) -> None:
    if not each.answer.done():
        each.answer.set_exception(error)
