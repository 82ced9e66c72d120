"""Packs of queries, with a stand-in for the way to the worker; on a real one in tests/integration/test_queries.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from memq.connection.replies import Reply
from memq.deliver.query_packs import QueryPacks
from memq.errors import RemoteError, ReplyTimeout, Unroutable
from memq_schemas import CODES, ErrorCode, Operation, error_reply

if TYPE_CHECKING:
    from memq.deliver.calls import Calls
    from memq.deliver.sender import Sender

TIMEOUT = 5.0


class Way:
    """Calls and Sender in one: answers query n with the result [n]."""

    def __init__(self) -> None:
        self.sent: list[tuple[Operation, str | None, list[int]]] = []
        self.timeouts: list[float | None] = []
        self.errors: dict[int, ErrorCode] = {}
        self.whole: Exception | None = None
        self.traced = False

    def packs(self, *, packs: bool = True) -> QueryPacks:
        return QueryPacks(cast("Calls", self), cast("Sender", self), TIMEOUT, packs=packs)

    async def ask(self, operation: Operation, collection: str | None, body: bytes, timeout: float | None) -> Reply:
        fields = orjson.loads(body)
        together = operation is Operation.QUERIES
        numbers = [each["n"] for each in fields["queries"]] if together else [fields["n"]]
        self.sent.append((operation, collection, numbers))
        self.timeouts.append(timeout)
        await asyncio.sleep(0)
        if not together:
            return Reply(200, numbers, 1.0)
        if self.whole is not None:
            raise self.whole
        return Reply(200, [self._part(number) for number in numbers], 1.0)

    def _part(self, number: int) -> Any:
        code = self.errors.get(number)
        if code is None:
            return {"status": 200, "result": [number]}
        return error_reply(code, "no", 0.0).model_dump(exclude={"elapsed_ms"})


def remote(code: ErrorCode) -> RemoteError:
    meaning = CODES[code]
    return RemoteError(code.value, "no", status=meaning.status, retryable=meaning.retryable)


async def ask(packs: QueryPacks, *numbers: int, timeout: float | None = None, small: bool = True) -> list[Any]:
    asked = (packs.ask("docs", orjson.dumps({"n": number}), timeout, small=small) for number in numbers)
    found = await asyncio.gather(*asked, return_exceptions=True)
    return [each.result if isinstance(each, Reply) else each for each in found]


def alone(*numbers: int) -> list[tuple[Operation, str, list[int]]]:
    return [(Operation.QUERY, "docs", [number]) for number in numbers]


async def test_queries_of_one_turn_go_together_and_each_gets_its_own_answer() -> None:
    way = Way()
    assert await ask(way.packs(), *range(20)) == [[number] for number in range(20)]
    assert [(operation, len(numbers)) for operation, _, numbers in way.sent] == [
        (Operation.QUERIES, n) for n in (8, 8, 4)
    ]
    assert sorted(number for _, _, numbers in way.sent for number in numbers) == list(range(20))


async def test_one_alone_goes_as_a_query() -> None:
    way = Way()
    packs = way.packs()
    assert await ask(packs, 1) == [[1]]
    assert await ask(packs, 2) == [[2]]
    assert way.sent == alone(1, 2)


async def test_those_of_other_collections_and_timeouts_go_apart() -> None:
    way = Way()
    packs = way.packs()
    await asyncio.gather(
        packs.ask("docs", b'{"n": 1}', None, small=True),
        packs.ask("docs", b'{"n": 2}', 2.0, small=True),
        packs.ask("notes", b'{"n": 3}', None, small=True),
        packs.ask("docs", b'{"n": 4}', TIMEOUT, small=True),
    )
    assert (Operation.QUERIES, "docs", [1, 4]) in way.sent
    assert len(way.sent) == 3


async def test_a_collection_that_is_no_text_is_left_to_the_check_of_calls() -> None:
    way = Way()
    collection: Any = ["docs"]
    await asyncio.gather(*(way.packs().ask(collection, b'{"n": 1}', None, small=True) for _ in range(2)))
    assert [operation for operation, _, _ in way.sent] == [Operation.QUERY] * 2


@pytest.mark.parametrize("reason", ["large", "traced", "tenant"])
async def test_what_may_not_share_a_message_goes_alone(reason: str) -> None:
    way = Way()
    way.traced = reason == "traced"
    assert await ask(way.packs(packs=reason != "tenant"), 1, 2, small=reason != "large") == [[1], [2]]
    assert way.sent == alone(1, 2)


async def test_a_large_body_begins_another_pack() -> None:
    way = Way()
    packs = way.packs()
    bodies = [orjson.dumps({"n": number, "filler": "x" * 100_000}) for number in range(4)]
    await asyncio.gather(*(packs.ask("docs", body, None, small=True) for body in bodies))
    assert [numbers for _, _, numbers in way.sent] == [[0, 1], [2, 3]]


async def test_the_error_of_one_is_its_own() -> None:
    way = Way()
    way.errors[1] = ErrorCode.WRONG_DIMENSION
    first, refused, last = await ask(way.packs(), 0, 1, 2)
    assert (first, last) == ([0], [2])
    assert isinstance(refused, RemoteError)
    assert refused.code == "wrong_dimension"


async def test_a_result_too_large_for_its_share_is_asked_for_alone() -> None:
    way = Way()
    way.errors[1] = ErrorCode.TOO_LARGE
    assert await ask(way.packs(), 0, 1, 2) == [[0], [1], [2]]
    assert way.sent[1:] == alone(1)
    left = way.timeouts[1]
    assert left is not None
    assert left < TIMEOUT


@pytest.mark.parametrize(
    "error", [Unroutable("no queue"), remote(ErrorCode.UNKNOWN_OPERATION), remote(ErrorCode.INVALID)]
)
async def test_workers_that_do_not_take_a_pack_are_asked_one_by_one_from_then_on(error: Exception) -> None:
    way = Way()
    packs = way.packs()
    way.whole = error
    assert await ask(packs, 0, 1) == [[0], [1]]
    assert await ask(packs, 2, 3) == [[2], [3]]
    assert way.sent == [(Operation.QUERIES, "docs", [0, 1]), *alone(0, 1, 2, 3)]


@pytest.mark.parametrize(
    "error", [ReplyTimeout("late"), remote(ErrorCode.STORE_UNAVAILABLE), remote(ErrorCode.OVERLOADED)]
)
async def test_what_prevents_all_is_told_to_all(error: Exception) -> None:
    way = Way()
    packs = way.packs()
    way.whole = error
    assert await ask(packs, 0, 1) == [error, error]
    way.whole = None
    assert await ask(packs, 2, 3) == [[2], [3]]
    assert way.sent[1:] == [(Operation.QUERIES, "docs", [2, 3])]


@pytest.mark.parametrize("result", [None, [], [{"status": 200, "result": []}], [1, 2], [{}, {}]])
async def test_a_reply_that_is_no_answer_is_an_error_for_each(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way()

    async def broken(*_: Any) -> Reply:
        return Reply(200, result, 1.0)

    monkeypatch.setattr(way, "ask", broken)
    for found in await ask(way.packs(), 0, 1):
        assert isinstance(found, RemoteError)
        assert found.code == "unexpected"


async def test_a_caller_who_leaves_takes_no_other_along() -> None:
    way = Way()
    packs = way.packs()
    asked = [asyncio.create_task(packs.ask("docs", orjson.dumps({"n": n}), None, small=True)) for n in range(3)]
    await asyncio.sleep(0)
    asked[0].cancel()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [each.result for each in found[1:] if isinstance(each, Reply)] == [[1], [2]]


@pytest.mark.parametrize("timeout", [0, -1, "soon"])
async def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    (refused,) = await ask(Way().packs(), 1, timeout=timeout)
    assert "timeout" in str(refused)
