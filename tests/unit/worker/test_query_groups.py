from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError, Outage
from memq_worker.qdrant.query_groups import QueryGroups

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD = -1


class Store:
    """Answers n with 2n when it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def one(self, request: Any, timeout: float) -> Any:
        return (await self._answer([request]))[0]

    async def many(self, collection: str, requests: Sequence[Any], timeout: float) -> Sequence[Any]:
        return await self._answer(list(requests))

    async def _answer(self, requests: list[Any]) -> list[Any]:
        self.calls.append(requests)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        if BAD in requests:
            raise MessageError(ErrorCode.REJECTED_BY_STORE, "bad")
        return [2 * request for request in requests]


def ask(groups: QueryGroups, *requests: Any, timeout: float = 30.0) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(groups.ask("docs", request, timeout)) for request in requests]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_alone_is_asked_alone_and_at_once() -> None:
    store = Store()
    assert await QueryGroups(store.one, store.many).ask("docs", 1, 30.0) == 2
    assert store.calls == [[1]]


async def test_while_some_are_answered_others_gather_and_each_gets_its_own_answer() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, most=4, in_flight=1)
    store.go.clear()
    first = ask(groups, 0)
    await turns()
    rest = ask(groups, *range(1, 10))
    await turns()
    assert store.calls == [[0]]
    store.go.set()
    assert await asyncio.gather(*first, *rest) == [2 * n for n in range(10)]
    assert store.calls == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


async def test_no_more_calls_are_out_than_allowed() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, in_flight=2)
    store.go.clear()
    tasks: list[asyncio.Task[Any]] = []
    for number in range(5):
        tasks += ask(groups, number)
        await turns()
    assert store.calls == [[0], [1]]
    store.go.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]


async def test_one_that_is_refused_spoils_no_other() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many)
    answers = await asyncio.gather(*ask(groups, 1, BAD, 3), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], MessageError)
    assert answers[2] == 6


async def test_an_outage_is_told_to_all_of_the_group() -> None:
    store = Store()
    store.error = Outage(ErrorCode.STORE_UNAVAILABLE, "away")
    groups = QueryGroups(store.one, store.many)
    answers = await asyncio.gather(*ask(groups, 1, 2), return_exceptions=True)
    assert answers == [store.error, store.error]
    assert store.calls == [[1, 2]]


async def test_those_that_wait_are_divided_among_the_calls() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, least=2, most=8, in_flight=2)
    store.go.clear()
    tasks: list[asyncio.Task[Any]] = []
    for number in range(2):
        tasks += ask(groups, number)
        await turns()
    tasks += ask(groups, *range(2, 12))
    await turns()
    store.go.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(12)]
    assert store.calls == [[0], [1], [2, 3, 4, 5, 6], [7, 8, 9], [10, 11]]


async def test_who_has_left_is_not_asked_for() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, in_flight=1)
    store.go.clear()
    (first,) = ask(groups, 1)
    await turns()
    gone, stays = ask(groups, 2, 3)
    await turns()
    gone.cancel()
    await turns()
    store.go.set()
    assert await asyncio.gather(first, stays) == [2, 6]
    assert store.calls == [[1], [3]]


async def test_closing_leaves_no_task() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many)
    store.go.clear()
    (waiting,) = ask(groups, 1)
    await turns()
    await groups.close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_requests_of_one_message_are_asked_in_equal_lots_at_a_time() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, least=4, most=8, in_flight=3)
    store.go.clear()
    ten = asyncio.create_task(groups.ask_all("docs", list(range(10)), 30.0))
    await turns()
    assert store.calls == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    store.go.set()
    assert await ten == [2 * n for n in range(10)]


async def test_lots_of_several_messages_share_a_call() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, least=2, most=4, in_flight=1)
    store.go.clear()
    first = ask(groups, 0)
    await turns()
    asked = [asyncio.create_task(groups.ask_all("docs", each, 30.0)) for each in ([1, 2, 3], [4, 5])]
    rest = ask(groups, 6)
    await turns()
    store.go.set()
    assert await asyncio.gather(*asked) == [[2, 4, 6], [8, 10]]
    assert await asyncio.gather(*first, *rest) == [0, 12]
    assert store.calls == [[0], [1, 2, 3], [4, 5, 6]]


async def test_of_several_each_has_its_own_answer_or_error() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many)
    found = await groups.ask_all("docs", [1, BAD, 3, 4, 5, 6], 30.0)
    assert [isinstance(each, MessageError) for each in found] == [False, True, *[False] * 4]
    assert [each for each in found if not isinstance(each, MessageError)] == [2, 6, 8, 10, 12]


async def test_several_that_nobody_waits_for_any_more_are_not_asked_for() -> None:
    store = Store()
    groups = QueryGroups(store.one, store.many, least=2, in_flight=1)
    store.go.clear()
    (first,) = ask(groups, 1)
    await turns()
    gone = asyncio.create_task(groups.ask_all("docs", [2, 3, 4], 30.0))
    (stays,) = ask(groups, 5)
    await turns()
    gone.cancel()
    await turns()
    store.go.set()
    assert await asyncio.gather(first, stays) == [2, 10]
    assert store.calls == [[1], [5]]
