"""Several queries in one message."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import ErrorCode, headers
from memq_worker.errors import MessageError, Outage, WorkerError
from memq_worker.pipeline.intake import Pipeline
from tests.unit.worker.fakes import FakeLink, FakeStore, Watch, delivery, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memq_schemas import Query

HIT = {"id": 1, "score": 0.5, "payload": {}}
GROUPED = {"vector": [1, 2], "group_by": "author"}


class Store(FakeStore):
    """Answers ungrouped queries, of which it refuses those of more than 100 hits."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.outage: Outage | None = None

    async def queries(
        self, collection: str, queries: Sequence[Query], timeout: float, share: int
    ) -> list[list[dict[str, Any]] | WorkerError]:
        self.asked.append(len(queries))
        if self.outage is not None:
            raise self.outage
        refusal = MessageError(ErrorCode.REJECTED_BY_STORE, "too many", stage="answer")
        return [refusal if each.limit > 100 else [HIT] for each in queries]


@pytest.fixture
def store() -> Store:
    return Store()


async def answers(store: Store, *queries: dict[str, Any], seconds: float = 30.0) -> list[Any]:
    pipeline, link = Pipeline(store, Watch(), options()), FakeLink()
    extra = {headers.DEADLINE: int((time.time() + seconds) * 1000)}
    pipeline.accept(delivery(link, 1, {"queries": queries}, "queries.docs", reply_to="caller", extra=extra))
    await link.settled(1)
    (reply,) = link.replies()
    assert reply["status"] == 200
    return reply["result"]


def outcomes(found: list[Any]) -> list[Any]:
    return [each["error"]["code"] if "error" in each else len(each["result"]) for each in found]


async def test_all_are_one_call_to_the_store(store: Store) -> None:
    assert await answers(store, *[{"vector": [1, 2]}] * 5) == [{"status": 200, "result": [HIT]}] * 5
    assert store.asked == [5]


async def test_each_has_its_own_error_and_only_those_that_fit_are_asked(store: Store) -> None:
    found = await answers(store, {"vector": [1, 2]}, {"vector": [1]}, {"vector": [1, 2], "limit": 101}, GROUPED)
    assert outcomes(found) == [1, "wrong_dimension", "rejected_by_store", 1]
    assert store.asked == [2]


async def test_none_is_asked_where_none_fits(store: Store) -> None:
    assert outcomes(await answers(store, {"vector": [1]}, {"vector": [1, 2, 3]})) == ["wrong_dimension"] * 2
    assert store.asked == []


async def test_an_outage_is_the_answer_to_each(store: Store) -> None:
    store.outage = Outage(ErrorCode.STORE_UNAVAILABLE, "away", stage="answer")
    found = await answers(store, {"vector": [1, 2]}, GROUPED, {"vector": [1, 2]})
    assert outcomes(found) == ["store_unavailable", 1, "store_unavailable"]
    assert all(each["error"]["retry_after"] > 0 for each in found if "error" in each)


async def test_a_slow_one_that_groups_its_hits_keeps_no_other_from_its_answer(store: Store) -> None:
    store.gate = asyncio.Event()
    assert outcomes(await answers(store, {"vector": [1, 2]}, GROUPED, seconds=1.0)) == [1, "deadline_exceeded"]
